#include "mesos/container.h"

#include "mesos/proto.h"

#include <assert.h>

static_assert((int)API_MODE_RW == (int)MESOS__VOLUME__MODE__RW, "Aurora's modes are Mesos's");
static_assert((int)API_MODE_RO == (int)MESOS__VOLUME__MODE__RO, "Aurora's modes are Mesos's");

static Mesos__Volume *volume(const struct api_volume *from, struct arena *a)
{
    Mesos__Volume *v = proto_new(&mesos__volume__descriptor, a);
    v->container_path = proto_str(from->container_path, a);
    v->host_path = proto_str(from->host_path, a);
    v->mode = from->has_mode ? (Mesos__Volume__Mode)from->mode : MESOS__VOLUME__MODE__RO;
    return v;
}

static Mesos__Image *image(const struct api_image *from, struct arena *a)
{
    Mesos__Image *m = proto_new(&mesos__image__descriptor, a);
    if (from->docker) {
        m->type = MESOS__IMAGE__TYPE__DOCKER;
        m->docker = proto_new(&mesos__image__docker__descriptor, a);
        m->docker->name =
            proto_str(arena_strf(a, "%.*s:%.*s", STR_ARG(from->docker->name), STR_ARG(from->docker->tag)), a);
    } else {
        m->type = MESOS__IMAGE__TYPE__APPC;
        m->appc = proto_new(&mesos__image__appc__descriptor, a);
        m->appc->name = proto_str(from->appc->name, a);
        m->appc->id = proto_str(from->appc->image_id, a);
    }
    return m;
}

/* The executor's mounts (x may be NULL), then the task's; room for one more. */
static void set_volumes(Mesos__ContainerInfo *m, const struct executor *x, const struct api_mesos_container *c,
                        struct arena *a)
{
    size_t own = x ? x->n_volumes : 0;
    m->volumes = ARENA_ARRAY(a, Mesos__Volume *, own + (c ? c->n_volumes : 0) + 1);
    for (size_t i = 0; i < own; i++) m->volumes[m->n_volumes++] = x->volumes[i];
    for (uint32_t i = 0; c && i < c->n_volumes; i++) m->volumes[m->n_volumes++] = volume(&c->volumes[i], a);
}

static Mesos__ContainerInfo *container_new(Mesos__ContainerInfo__Type type, struct arena *a)
{
    Mesos__ContainerInfo *m = proto_new(&mesos__container_info__descriptor, a);
    m->type = type;
    return m;
}

static Mesos__ContainerInfo *docker(const struct api_docker_container *c, const struct executor *x, struct arena *a)
{
    Mesos__ContainerInfo *m = container_new(MESOS__CONTAINER_INFO__TYPE__DOCKER, a);
    m->docker = proto_new(&mesos__container_info__docker_info__descriptor, a);
    m->docker->image = proto_str(c->image, a);
    m->docker->parameters = ARENA_ARRAY(a, Mesos__Parameter *, c->n_parameters);
    for (uint32_t i = 0; i < c->n_parameters; i++) {
        Mesos__Parameter *p = proto_new(&mesos__parameter__descriptor, a);
        p->key = proto_str(c->parameters[i].name, a);
        p->value = proto_str(c->parameters[i].value, a);
        m->docker->parameters[m->docker->n_parameters++] = p;
    }
    set_volumes(m, x, NULL, a);
    return m;
}

static bool has_image(const struct api_container *c)
{
    return c->mesos && c->mesos->image;
}

Mesos__ContainerInfo *container_for_executor(const struct api_container *c, const struct executor *x, struct arena *a)
{
    if (!c) return NULL;
    if (c->docker) return docker(c->docker, x, a);
    if (!has_image(c)) return NULL;
    Mesos__ContainerInfo *m = container_new(MESOS__CONTAINER_INFO__TYPE__MESOS, a);
    set_volumes(m, x, c->mesos, a);
    Mesos__Volume *taskfs = proto_new(&mesos__volume__descriptor, a);
    taskfs->container_path = proto_str(STR("taskfs"), a);
    taskfs->mode = MESOS__VOLUME__MODE__RO;
    taskfs->image = image(c->mesos->image, a);
    m->volumes[m->n_volumes++] = taskfs;
    return m;
}

Mesos__ContainerInfo *container_for_command(const struct api_container *c, struct arena *a)
{
    if (!c) return NULL;
    if (c->docker) return docker(c->docker, NULL, a);
    if (!has_image(c)) return NULL;
    Mesos__ContainerInfo *m = container_new(MESOS__CONTAINER_INFO__TYPE__MESOS, a);
    set_volumes(m, NULL, c->mesos, a);
    m->mesos = proto_new(&mesos__container_info__mesos_info__descriptor, a);
    m->mesos->image = image(c->mesos->image, a);
    return m;
}
