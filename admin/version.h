#ifndef AURORA_ADMIN_VERSION_H
#define AURORA_ADMIN_VERSION_H

#include "build_info.h" /* BUILD_REVISION, BUILD_TAG, BUILD_DATE, BUILD_TIME: made by the Makefile */

#define AURORA_VERSION "0.1.0"

#endif
