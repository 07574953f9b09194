/* Policies of planning by name: ours, and published ones to compare it with in the same engine. */
#ifndef FVM_POLICY_H
#define FVM_POLICY_H

enum policy {
#define POLICY(name, choose, reorders, in_place, pack, what) POLICY_##name,
#include "policies.def"
#undef POLICY
  POLICY_COUNT
};
const char *policy_name(enum policy p);
/* POLICY_COUNT when there is none of that name. */
enum policy policy_find(const char *name);

#endif
