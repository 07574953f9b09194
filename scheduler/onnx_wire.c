/* Wire format: a message is a list of fields; a field is a varint key (number << 3 | wire type)
 * and a varint, 4 or 8 bytes, or a length and as many bytes, which may be a message again. */
#include "onnx_wire.h"

/* ONNX needs about ten levels (a subgraph takes three). */
enum { MAX_NESTING = 64 };

/* ---- check ---- */

struct cursor {
  const uint8_t *base, *p, *end;
};

static bool get_varint(struct cursor *c, uint64_t *v) {
  *v = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (c->p == c->end) return false;
    uint8_t b = *c->p++;
    *v |= shift < 64 ? (uint64_t)(b & 0x7f) << shift : 0;
    if (!(b & 0x80)) return true;
  }
  return false;
}

static bool skip(struct cursor *c, uint64_t n) {
  if (n > (uint64_t)(c->end - c->p)) return false;
  c->p += n;
  return true;
}

/* The value behind a key; *inner is what a length-delimited one holds. */
static bool get_value(struct cursor *c, unsigned wire, struct cursor *inner) {
  uint64_t v;
  *inner = (struct cursor){0};
  switch (wire) {
  case PROTOBUF_C_WIRE_TYPE_VARINT:
    return get_varint(c, &v);
  case PROTOBUF_C_WIRE_TYPE_64BIT:
    return skip(c, 8);
  case PROTOBUF_C_WIRE_TYPE_32BIT:
    return skip(c, 4);
  case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
    if (!get_varint(c, &v)) return false;
    *inner = (struct cursor){c->base, c->p, c->p};
    if (!skip(c, v)) return false;
    inner->end = c->p;
    return true;
  default:
    return false;
  }
}

static unsigned wire_of(ProtobufCType t) {
  switch (t) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE:
    return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_FLOAT:
    return PROTOBUF_C_WIRE_TYPE_32BIT;
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE:
    return PROTOBUF_C_WIRE_TYPE_64BIT;
  default:
    return PROTOBUF_C_WIRE_TYPE_VARINT;
  }
}

/* Numbers may come packed, all behind one length. */
static bool wire_fits(const ProtobufCFieldDescriptor *f, unsigned wire) {
  unsigned own = wire_of(f->type);
  return wire == own ||
         (f->label == PROTOBUF_C_LABEL_REPEATED && wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
}

static bool packed_fits(const ProtobufCFieldDescriptor *f, struct cursor in) {
  unsigned own = wire_of(f->type);
  struct cursor none;
  if (own == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) return true;
  while (in.p < in.end)
    if (!get_value(&in, own, &none)) return false;
  return true;
}

static enum fvm_status check(const ProtobufCMessageDescriptor *d, struct cursor c, int depth,
                             struct fvm_error *err) {
  if (depth > MAX_NESTING)
    return fvm_fail(err, FVM_EFORMAT, "byte %td: messages nest deeper than %d levels", c.p - c.base,
                    MAX_NESTING);
  while (c.p < c.end) {
    ptrdiff_t at = c.p - c.base;
    uint64_t key;
    struct cursor in;
    bool ok = get_varint(&c, &key) && key >> 3 > 0 && key >> 3 < 1u << 29;
    const ProtobufCFieldDescriptor *f =
        ok ? protobuf_c_message_descriptor_get_field(d, (unsigned)(key >> 3)) : NULL;
    if (!ok || !get_value(&c, (unsigned)key & 7, &in) ||
        (f && !(wire_fits(f, (unsigned)key & 7) && packed_fits(f, in))))
      return fvm_fail(err, FVM_EFORMAT,
                      "byte %td: %s %s is cut off or damaged; is this file complete?", at,
                      f ? "field" : "a field of", f ? f->name : d->short_name);
    if (!f || f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
    enum fvm_status st = check(f->descriptor, in, depth + 1, err);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}

/* ---- memory ---- */

/* In front of each of protobuf-c's blocks; sized so that the data behind stays 16-byte aligned. */
struct block {
  struct mapping m;
  size_t bytes; /* of head and data */
  size_t pad;
};
_Static_assert(sizeof(struct block) % 16 == 0, "data behind a block's head is not aligned");

static void free_block(struct mapping *m) {
  struct block *b = (struct block *)m;
  fvm_free(b, 1, b->bytes);
}

static void *wire_alloc(void *failed, size_t size) {
  size_t bytes;
  struct block *b = NULL;
  if (!__builtin_add_overflow(size, sizeof *b, &bytes)) b = fvm_alloc(1, bytes);
  if (!b) {
    *(bool *)failed = true;
    return NULL;
  }
  b->m.release = free_block;
  b->bytes = bytes;
  return b + 1;
}

static void wire_release(void *unused, void *p) {
  (void)unused;
  if (p) free_block(&((struct block *)p - 1)->m);
}

enum fvm_status wire_unpack(const ProtobufCMessageDescriptor *d, const void *bytes, size_t n,
                            ProtobufCMessage **msg, struct fvm_error *err) {
  enum fvm_status st = check(d, (struct cursor){bytes, bytes, (const uint8_t *)bytes + n}, 0, err);
  if (st != FVM_OK) return st;
  bool failed = false;
  ProtobufCAllocator a = {wire_alloc, wire_release, &failed};
  *msg = protobuf_c_message_unpack(d, &a, n, bytes);
  if (*msg) return FVM_OK;
  return failed ? fvm_nomem(err) : fvm_fail(err, FVM_EFORMAT, "not a protobuf %s", d->short_name);
}

void wire_free(ProtobufCMessage *msg) {
  ProtobufCAllocator a = {wire_alloc, wire_release, NULL};
  if (msg) protobuf_c_message_free_unpacked(msg, &a);
}

void *wire_keep(ProtobufCBinaryData *b, struct mapping **list) {
  if (!b->data) return NULL;
  void *p = b->data;
  struct block *block = (struct block *)p - 1;
  block->m.next = *list;
  *list = &block->m;
  *b = (ProtobufCBinaryData){0};
  return p;
}
