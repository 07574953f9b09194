/* Element-wise nodes as the body of one fused node. */
#ifndef FVM_FUSE_BODY_H
#define FVM_FUSE_BODY_H

#include "pass.h"

/* Larger groups gain little, and the strips of a body have limited scratch. */
enum { FUSE_MAX_ITEMS = 24, FUSE_MAX_INPUTS = 6, FUSE_MAX_OWN = 8 };

/* What is to become one node: element-wise members in topological order, the last one being the
 * sink, and the anchor before them (with at most FUSE_MAX_OWN inputs), or -1. */
struct group {
  int member[FUSE_MAX_ITEMS], n;
  int anchor;
};
/* Whether operators can run the group as one node. False when memory is out, too: nothing is lost
 * but a fusion, and the next allocation that matters will say so. */
bool fuse_possible(const struct graph *g, const struct group *s);
/* Let the sink's node become the group; the other nodes go. */
bool fuse_apply(struct rewrite *w, const struct group *s);
/* Note (pass_miss) why element-wise nodes did not go into what makes their inputs. */
void fuse_note_misses(struct graph *g);

#endif
