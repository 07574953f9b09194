/* Which build this is: everything that moves a measurement without the machine moving. */
#include "config.h"
#include "machine.h"
#include "profiles/build_id.h"

const char *build_text(void) {
  return PACKAGE_VERSION "; sources " BUILD_SOURCES "; " BUILD_CC " " __VERSION__ "; " BUILD_CFLAGS;
}
