/* What machine this is, from /proc, /sys and the CPU itself. Whatever cannot be read is "unknown"
 * or 0: a board that tells little still has a fingerprint. */
#define _GNU_SOURCE
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "counters.h"

/* First line of a file without its newline; false when it cannot be read or is empty. */
static bool read_line(const char *path, char *line, size_t size) {
  FILE *f = fopen(path, "r");
  bool ok = f && fgets(line, (int)size, f);
  if (f) fclose(f);
  if (ok) line[strcspn(line, "\n")] = 0;
  return ok && line[0];
}

/* Value of the first "KEY : VALUE" line of /proc/cpuinfo. */
static bool cpuinfo(const char *key, char *value, size_t size) {
  static const char path[] = "/proc/cpuinfo";
  char line[4096];
  FILE *f = fopen(path, "r");
  bool found = false;
  while (f && !found && fgets(line, sizeof line, f)) {
    size_t n = strlen(key);
    char *colon = strchr(line, ':');
    if (strncmp(line, key, n) != 0 || !colon ||
        strspn(line + n, " \t") != (size_t)(colon - line) - n)
      continue;
    colon[strcspn(colon, "\n")] = 0;
    snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
    found = true;
  }
  if (f) fclose(f);
  return found;
}

/* ---- caches ---- */

/* "32K", "1M" of sysfs. */
static int64_t parse_size(const char *s) {
  char *end;
  long long v = strtoll(s, &end, 10);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  return v > 0 && v < 1 << 30 ? (int64_t)v << shift : 0;
}

/* Size of the data or unified cache of a level, as CPU 0 sees it. */
static int64_t sysfs_cache(int level) {
  char path[96], line[64];
  for (int i = 0; i < 8; i++) {
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
    if (!read_line(path, line, sizeof line)) break;
    if (atoi(line) != level) continue;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
    if (!read_line(path, line, sizeof line) || strcmp(line, "Instruction") == 0) continue;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
    if (read_line(path, line, sizeof line)) return parse_size(line);
  }
  return 0;
}

static int64_t cache_bytes(int level, int name) {
  int64_t v = sysfs_cache(level);
  return v ? v : MAX(sysconf(name), 0);
}

/* ---- the rest ---- */

static void read_hypervisor(char *name, size_t size) {
  snprintf(name, size, "none");
  if (read_line("/sys/hypervisor/type", name, size)) return;
#if defined(__x86_64__) || defined(__i386__)
  unsigned a, b, c, d, r[3];
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 31)) return;
  __cpuid(0x40000000, a, r[0], r[1], r[2]);
  char text[13] = {0};
  memcpy(text, r, 12);
  snprintf(name, size, "%s", text[0] ? text : "unknown");
#endif
}

static enum fvm_status read_counters(char *list, size_t size, struct fvm_error *err) {
  struct counters *c = counters_open();
  if (!c) return fvm_nomem(err);
  size_t n = 0;
  for (int i = 0; i < COUNTER_COUNT && n < size; i++)
    if (!c->why_not[i])
      n +=
          (size_t)snprintf(list + n, size - n, "%s%s", n ? "," : "", counter_name((enum counter)i));
  c->free(c);
  return FVM_OK;
}

/* No field may end another's in the canonical text. */
static void clean(char *s) {
  for (; *s; s++)
    if (*s == ';' || *s == '=' || (unsigned char)*s < ' ') *s = ' ';
}

static void write_text(struct machine *m) {
  char *field[] = {m->cpu, m->microcode, m->kernel, m->governor, m->hypervisor};
  for (size_t i = 0; i < COUNT(field); i++) clean(field[i]);
  snprintf(m->text, sizeof m->text,
           "cpu=%s; microcode=%s; cores=%d; isa=%s; l1=%lld; l2=%lld; l3=%lld; ram_gib=%lld; "
           "kernel=%s; governor=%s; hypervisor=%s; counters=%s",
           m->cpu, m->microcode, m->cores, isa_name(m->isa), (long long)m->l1_bytes,
           (long long)m->l2_bytes, (long long)m->l3_bytes, (long long)(m->ram_bytes >> 30),
           m->kernel, m->governor, m->hypervisor, m->counters);
  m->fingerprint = fvm_hash(m->text, strlen(m->text), 0);
}

enum fvm_status machine_read(struct machine *m, struct fvm_error *err) {
  struct utsname u;
  *m = (struct machine){0};
  if (!cpuinfo("model name", m->cpu, sizeof m->cpu) && !cpuinfo("CPU part", m->cpu, sizeof m->cpu))
    snprintf(m->cpu, sizeof m->cpu, "unknown");
  if (!cpuinfo("microcode", m->microcode, sizeof m->microcode))
    snprintf(m->microcode, sizeof m->microcode, "unknown");
  snprintf(m->kernel, sizeof m->kernel, "%s", uname(&u) == 0 ? u.release : "unknown");
  if (!read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", m->governor,
                 sizeof m->governor))
    snprintf(m->governor, sizeof m->governor, "unknown");
  read_hypervisor(m->hypervisor, sizeof m->hypervisor);
  m->cores = (int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
  m->isa = cpu_isa();
  m->l1_bytes = cache_bytes(1, _SC_LEVEL1_DCACHE_SIZE);
  m->l2_bytes = cache_bytes(2, _SC_LEVEL2_CACHE_SIZE);
  m->l3_bytes = cache_bytes(3, _SC_LEVEL3_CACHE_SIZE);
  m->ram_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  enum fvm_status st = read_counters(m->counters, sizeof m->counters, err);
  if (!st) write_text(m);
  return st;
}

void machine_target(const struct machine *m, const int *threads, int nthreads, struct target *t) {
  CHECK(nthreads >= 0 && nthreads <= (int)COUNT(t->threads));
  /* A board that hides its caches gets sizes that nearly every one has. */
  *t = (struct target){.isa = m->isa,
                       .nthreads = nthreads,
                       .l1_bytes = m->l1_bytes ? m->l1_bytes : 32 << 10,
                       .l2_bytes = m->l2_bytes ? m->l2_bytes : 512 << 10,
                       .l3_bytes = m->l3_bytes};
  for (int i = 0; i < nthreads; i++) t->threads[i] = threads[i];
}

/* Taken once, when it is asked for first: speeds hold for a process. */
static const struct machine_speeds *speeds_here(void) {
  static struct machine_speeds s;
  struct machine m;
  if (s.threads == 0 && machine_read(&m, NULL) == FVM_OK) machine_team_speed(&m, 1, &s, NULL);
  return &s;
}

void machine_environment(struct text *out) {
  const struct machine_speeds *s = speeds_here();
  char line[128], *end;
  const char *sep = "{";
  if (read_line("/proc/loadavg", line, sizeof line)) {
    text_printf(out, "%s\"load\":%.2f", sep, strtod(line, NULL));
    sep = ",";
  }
  if (cpuinfo("cpu MHz", line, sizeof line)) {
    text_printf(out, "%s\"mhz\":%.0f", sep, strtod(line, NULL));
    sep = ",";
  }
  if (read_line("/sys/class/thermal/thermal_zone0/temp", line, sizeof line)) {
    double t = strtod(line, &end);
    if (end != line) text_printf(out, "%s\"celsius\":%.1f", sep, t / 1000);
    sep = ",";
  }
  if (s->threads) {
    text_printf(out, "%s\"gflops\":%.1f,\"cache_gbytes\":%.1f,\"gbytes\":%.1f", sep, s->gflops,
                s->cache_gbytes, s->gbytes);
    sep = ",";
  }
  text_printf(out, *sep == '{' ? "{}" : "}");
}
