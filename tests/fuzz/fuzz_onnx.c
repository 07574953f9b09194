/* Fuzz target: the ONNX reader, the passes behind it, and the text form of what they leave. Seeds:
 * the models in tests/onnx. */
#define _GNU_SOURCE
#include "../../scheduler/graph.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct graph *g) {
  struct text first = {0}, second = {0};
  struct graph *again = NULL;
  struct fvm_error err;
  CHECK(graph_dump(g, &first) == FVM_OK);
  if (graph_parse(first.v, first.n, &again, &err) == FVM_OK) {
    CHECK(graph_dump(again, &second) == FVM_OK);
    CHECK(second.n == first.n);
  } else {
    fprintf(stderr, "%s\n%s\n", err.text, first.v);
    CHECK(!"what was written can be read");
  }
  text_free(&first);
  text_free(&second);
  graph_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct dim_binding any = {"*", 2};
  struct graph *g = NULL;
  struct fvm_error err = {0};
  char path[40];
  int fd = memfd_create("model", 0);
  CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  enum fvm_status st = onnx_import(path, &any, 1, &g, &err);
  if (st == FVM_OK) {
    check_text(g);
    st = pipeline_run(g, NULL, &err);
    if (st == FVM_OK) check_text(g);
  }
  CHECK(st == FVM_OK || (st == err.code && err.text[0]));
  graph_free(g);
  close(fd);
  CHECK(fvm_bytes_in_use() == 0);
  return 0;
}
