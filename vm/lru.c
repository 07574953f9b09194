/* LRU caches by one list and a hash table of its nodes. Contract: lru.h. */
#include "lru.h"

#define NONE UINT32_MAX

enum fvm_status lru_init(struct lru *c, const int64_t *bytes, int nlevel, int64_t lines,
                         struct fvm_error *err) {
  *c = (struct lru){.head = NONE, .tail = NONE, .nlevel = nlevel};
  if (nlevel == 0) return FVM_OK;
  for (int i = 0; i < nlevel; i++)
    c->most[i] = bytes[i] / LRU_LINE - (i ? bytes[i - 1] / LRU_LINE : 0);
  c->room = (uint32_t)MIN(MIN(bytes[nlevel - 1] / LRU_LINE, lines), (int64_t)1 << 30);
  for (c->nbucket = 16; c->nbucket < c->room;) c->nbucket *= 2;
  c->node = fvm_alloc(c->room, sizeof *c->node);
  c->bucket = fvm_alloc(c->nbucket, sizeof *c->bucket);
  if ((c->room && !c->node) || !c->bucket) {
    lru_free(c);
    return fvm_nomem(err);
  }
  for (size_t i = 0; i < c->nbucket; i++) c->bucket[i] = NONE;
  return FVM_OK;
}

void lru_free(struct lru *c) {
  if (c->node) fvm_free(c->node, c->room, sizeof *c->node);
  if (c->bucket) fvm_free(c->bucket, c->nbucket, sizeof *c->bucket);
  c->node = NULL;
  c->bucket = NULL;
}

/* ---- hash ------------------------------------------------------------------------------------ */
static uint32_t *bucket_of(struct lru *c, int64_t line) {
  return &c->bucket[((uint64_t)line * 0x9e3779b97f4a7c15u >> 32) & (c->nbucket - 1)];
}

static uint32_t find(struct lru *c, int64_t line) {
  uint32_t i = *bucket_of(c, line);
  while (i != NONE && c->node[i].line != line) i = c->node[i].chain;
  return i;
}

static void unhash(struct lru *c, uint32_t i) {
  uint32_t *at = bucket_of(c, c->node[i].line);
  while (*at != i) at = &c->node[*at].chain;
  *at = c->node[i].chain;
}

/* ---- list ------------------------------------------------------------------------------------ */
static void unlink_node(struct lru *c, uint32_t i) {
  struct lru_node *n = &c->node[i];
  if (n->prev == NONE)
    c->head = n->next;
  else
    c->node[n->prev].next = n->next;
  if (n->next == NONE)
    c->tail = n->prev;
  else
    c->node[n->next].prev = n->prev;
  c->size[n->segment]--;
  if (c->end[n->segment] == i) c->end[n->segment] = n->prev;
}

static void push_front(struct lru *c, uint32_t i) {
  struct lru_node *n = &c->node[i];
  n->prev = NONE;
  n->next = c->head;
  n->segment = 0;
  if (c->head == NONE)
    c->tail = i;
  else
    c->node[c->head].prev = i;
  c->head = i;
  if (c->size[0]++ == 0) c->end[0] = i;
}

/* The last node of a segment that became too long is the first one of the next segment. */
static void spill(struct lru *c) {
  for (int s = 0; s + 1 < c->nlevel && c->size[s] > c->most[s]; s++) {
    uint32_t i = c->end[s];
    c->end[s] = c->node[i].prev;
    c->size[s]--;
    c->node[i].segment = (uint32_t)s + 1;
    if (c->size[s + 1]++ == 0) c->end[s + 1] = i;
  }
}

/* A node for a new line: a fresh one, or that of the line used longest ago. */
static uint32_t take_node(struct lru *c, int64_t line) {
  uint32_t i = c->n;
  if (c->n < c->room) {
    c->n++;
  } else {
    i = c->tail;
    unlink_node(c, i);
    unhash(c, i);
  }
  uint32_t *at = bucket_of(c, line);
  c->node[i] = (struct lru_node){.line = line, .chain = *at};
  *at = i;
  return i;
}

void lru_touch(struct lru *c, int64_t line) {
  if (c->nlevel == 0) return;
  uint32_t i = c->room ? find(c, line) : NONE;
  int segment = i == NONE ? c->nlevel : (int)c->node[i].segment;
  for (int s = 0; s < segment; s++) c->misses[s]++;
  if (i == c->head && segment == 0) return;
  if (c->room == 0) return;
  if (i == NONE)
    i = take_node(c, line);
  else
    unlink_node(c, i);
  push_front(c, i);
  spill(c);
}
