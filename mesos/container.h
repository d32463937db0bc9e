/* Aurora's Container union as Mesos's ContainerInfo. */
#ifndef AURORA_MESOS_CONTAINER_H
#define AURORA_MESOS_CONTAINER_H

#include "mesos/executors.h"

#include "api.gen.h"
#include "mesos/mesos.pb-c.h"

/* For ExecutorInfo.container. NULL where the task asks for nothing: the configured one then stays. A Mesos image
 * becomes the volume "taskfs", in which the executor runs the task; volumes without an image are ignored, as ever. */
Mesos__ContainerInfo *container_for_executor(const struct api_container *c, const struct executor *x, struct arena *a);

/* For TaskInfo.container, of a task without executor of its own: the command runs inside the image. NULL: no container.
 */
Mesos__ContainerInfo *container_for_command(const struct api_container *c, struct arena *a);

#endif
