/* Writing JSON. */
#ifndef FVM_JSON_H
#define FVM_JSON_H

#include "../vm/base.h"

/* Append s as a JSON string in quotes; bytes that are not UTF-8 become U+FFFD. NULL gives null. */
void json_string(struct text *out, const char *s);

#endif
