/* The command line, from the rows of commands.def and options.def. */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../profiles/json.h"
#include "../vm/plan.h"
#include "../vm/slots.h"

enum kind { FLAG, TEXT, INT, SIZE, REAL, MULTI, INTS };

#define C(name) (1u << CMD_##name)
#define ALL (~0u)
static const struct option_row {
  const char *name;
  int letter;
  enum kind kind;
  const char *arg;
  double lo, hi;
  unsigned commands;
  const char *help;
} rows[] = {
#define OPTION(id, name, letter, kind, arg, lo, hi, commands, help)                                \
  {name, letter, kind, arg, lo, hi, commands, help},
#include "options.def"
#undef OPTION
};
#undef C
#undef ALL

static const struct command_row {
  const char *name, *args, *help;
  int lo, hi;
} commands[] = {
#define COMMAND(name, lo, hi, args, help) {#name, args, help, lo, hi},
#include "commands.def"
#undef COMMAND
};

/* ---- names ---- */

enum opt option_find(const char *name, size_t len) {
  for (int i = 0; i < OPT_COUNT; i++)
    if (strlen(rows[i].name) == len && !memcmp(rows[i].name, name, len)) return (enum opt)i;
  return OPT_COUNT;
}

const char *option_nearest(const char *name, enum command c) {
  const char *best = "help";
  int least = 1 << 20;
  for (int i = 0; i < OPT_COUNT; i++) {
    int d = (int)name_distance(name, rows[i].name);
    if ((rows[i].commands >> c & 1) && d < least) least = d, best = rows[i].name;
  }
  return best;
}

static const char *command_nearest(const char *name) {
  const char *best = commands[0].name;
  for (int i = 1; i < CMD_COUNT; i++)
    if (name_distance(name, commands[i].name) < name_distance(name, best)) best = commands[i].name;
  return best;
}

/* ---- help ---- */

static void print_options(unsigned mask) {
  for (int i = 0; i < OPT_COUNT; i++) {
    char head[64];
    if (!(rows[i].commands & mask)) continue;
    snprintf(head, sizeof head, "%c%c%s --%s%s%s", rows[i].letter ? '-' : ' ',
             rows[i].letter ? rows[i].letter : ' ', rows[i].letter ? "," : " ", rows[i].name,
             *rows[i].arg ? " " : "", rows[i].arg);
    printf("  %-26s %s\n", head, rows[i].help);
  }
}

static void print_help(enum command c) {
  if (c < CMD_COUNT) {
    printf("usage: fluidvm %s %s [options]\n%s\n\noptions:\n", commands[c].name, commands[c].args,
           commands[c].help);
    print_options(1u << c);
    return;
  }
  printf("usage: fluidvm COMMAND ...\n\ncommands:\n");
  for (int i = 0; i < CMD_COUNT; i++)
    printf("  %-8s %-24s %s\n", commands[i].name, commands[i].args, commands[i].help);
  printf("\nfluidvm COMMAND --help lists a command's options.\n");
}

static void print_version(void) { printf("fluidvm %s\nbuild %s\n", fvm_version(), build_text()); }

/* ---- numbers ---- */

static bool parse_size(const char *s, double *v) {
  char *end;
  *v = strtod(s, &end);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  if (shift) *v *= (double)(1 << shift), end++;
  return end != s && *end == 0;
}

static bool parse_int(const char *s, double *v) {
  char *end;
  errno = 0;
  *v = (double)strtoll(s, &end, 10);
  return end != s && *end == 0 && errno == 0;
}

static bool parse_real(const char *s, double *v) {
  char *end;
  *v = strtod(s, &end);
  return end != s && *end == 0 && isfinite(*v);
}

static bool ints_valid(const struct option_row *r, const char *s) {
  for (;;) {
    char *end;
    long v = strtol(s, &end, 10);
    if (end == s || (double)v < r->lo || (double)v > r->hi) return false;
    if (*end == 0) return true;
    if (*end != ',') return false;
    s = end + 1;
  }
}

static bool value_valid(const struct option_row *r, const char *s) {
  double v = 0;
  if (r->kind == INTS) return ints_valid(r, s);
  if (r->kind == MULTI) return strchr(s, '=') && *s != '=';
  if (r->kind == INT && !parse_int(s, &v)) return false;
  if (r->kind == SIZE && !parse_size(s, &v)) return false;
  if (r->kind == REAL && !parse_real(s, &v)) return false;
  bool number = r->kind == INT || r->kind == SIZE || r->kind == REAL;
  return !number || (v >= r->lo && v <= r->hi);
}

static enum fvm_status bad_value(const struct option_row *r, const char *text,
                                 struct fvm_error *err) {
  if (r->kind == MULTI)
    return fvm_fail(err, FVM_EUSAGE, "--%s %s: expected %s", r->name, text, r->arg);
  return fvm_fail(err, FVM_EUSAGE, "--%s %s: expected %s between %g and %g", r->name, text,
                  r->kind == SIZE ? "a size such as 512K, 24M, 1G" : "a number", r->lo, r->hi);
}

/* ---- parsing ---- */

static enum fvm_status add_item(struct cli *cli, enum opt o, const char *text, bool config,
                                struct fvm_error *err) {
  if (!value_valid(&rows[o], text)) return bad_value(&rows[o], text, err);
  if (!vec_grow((void **)&cli->item, &cli->item_cap, cli->nitem + 1, sizeof *cli->item))
    return fvm_nomem(err);
  cli->item[cli->nitem++] = (struct cli_item){o, text, config};
  return FVM_OK;
}

enum fvm_status cli_add_config(struct cli *cli, enum opt o, const char *text,
                               struct fvm_error *err) {
  if (!(rows[o].commands >> cli->command & 1)) return FVM_OK; /* another command's default */
  return add_item(cli, o, text, true, err);
}

/* getopt_long wants its own tables; they are made from the rows. */
static void getopt_tables(enum command c, struct option *longs, char *shorts) {
  *shorts++ = ':'; /* a missing value is told from an unknown option */
  int n = 0;
  for (int i = 0; i < OPT_COUNT; i++) {
    if (!(rows[i].commands >> c & 1)) continue;
    int arg = rows[i].kind == FLAG ? no_argument : required_argument;
    longs[n++] = (struct option){rows[i].name, arg, NULL, 256 + i};
    if (rows[i].letter) {
      *shorts++ = (char)rows[i].letter;
      if (arg) *shorts++ = ':';
    }
  }
  longs[n] = (struct option){0};
  *shorts = 0;
}

static enum opt by_letter(int letter) {
  for (int i = 0; i < OPT_COUNT; i++)
    if (rows[i].letter == letter) return (enum opt)i;
  return OPT_COUNT;
}

static enum fvm_status unknown_option(const struct cli *cli, const char *word,
                                      struct fvm_error *err) {
  char name[64];
  while (*word == '-') word++;
  snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
  return fvm_fail(err, FVM_EUSAGE,
                  "unknown option --%s; did you mean --%s? 'fluidvm %s --help' lists them", name,
                  option_nearest(name, cli->command), commands[cli->command].name);
}

static enum fvm_status parse_options(int argc, char **argv, struct cli *cli,
                                     struct fvm_error *err) {
  struct option longs[OPT_COUNT + 1];
  char shorts[3 * OPT_COUNT + 2];
  getopt_tables(cli->command, longs, shorts);
  opterr = 0;
  optind = 1;
  for (;;) {
    int at = optind, c = getopt_long(argc, argv, shorts, longs, NULL);
    if (c == -1) break;
    if (c == ':') return fvm_fail(err, FVM_EUSAGE, "option %s needs a value", argv[optind - 1]);
    if (c == '?') return unknown_option(cli, argv[MAX(at, optind - 1)], err);
    enum opt o = c >= 256 ? (enum opt)(c - 256) : by_letter(c);
    enum fvm_status st = add_item(cli, o, optarg ? optarg : "", false, err);
    if (st != FVM_OK) return st;
  }
  cli->pos = argv + optind;
  cli->npos = argc - optind;
  return FVM_OK;
}

static enum fvm_status read_defaults(struct cli *cli, struct fvm_error *err) {
  const char *file = cli_text(cli, OPT_CONFIG), *xdg = getenv("XDG_CONFIG_HOME");
  if (file) return config_read(cli, file, true, err);
  enum fvm_status st = config_read(cli, "fluidvm.yaml", false, err);
  if (st != FVM_OK || !xdg) return st;
  const char *path = arena_printf(&cli->arena, "%s/fluidvm/config.yaml", xdg);
  return path ? config_read(cli, path, false, err) : fvm_nomem(err);
}

static enum command find_command(const char *s) {
  for (int i = 0; i < CMD_COUNT; i++)
    if (!strcmp(s, commands[i].name)) return (enum command)i;
  return CMD_COUNT;
}

/* Options that end the program at once. */
static void help_or_version(int argc, char **argv) {
  enum command c = argc > 1 ? find_command(argv[1]) : CMD_COUNT;
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    bool help = !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
    bool version = !strcmp(argv[i], "--version") || !strcmp(argv[i], "-V");
    if (help) print_help(c);
    if (version) print_version();
    if (help || version) exit(0);
  }
}

enum fvm_status cli_parse(int argc, char **argv, struct cli *cli, struct fvm_error *err) {
  *cli = (struct cli){0};
  help_or_version(argc, argv);
  if (argc < 2) return fvm_fail(err, FVM_EUSAGE, "no command; 'fluidvm --help' lists them");
  cli->command = find_command(argv[1]);
  if (cli->command == CMD_COUNT)
    return fvm_fail(err, FVM_EUSAGE, "unknown command '%s'; did you mean '%s'?", argv[1],
                    command_nearest(argv[1]));
  enum fvm_status st = parse_options(argc - 1, argv + 1, cli, err);
  if (st == FVM_OK) st = read_defaults(cli, err);
  const struct command_row *c = &commands[cli->command];
  if (st == FVM_OK && (cli->npos < c->lo || cli->npos > c->hi))
    st = fvm_fail(err, FVM_EUSAGE, "%s arguments; usage: fluidvm %s %s",
                  cli->npos < c->lo ? "missing" : "too many", c->name, c->args);
  return st;
}

void cli_free(struct cli *cli) {
  fvm_free(cli->item, cli->item_cap, sizeof *cli->item);
  arena_free(&cli->arena);
}

/* ---- values ---- */

const char *cli_text(const struct cli *cli, enum opt o) {
  const char *found = NULL;
  bool given = false;
  for (size_t i = 0; i < cli->nitem; i++) {
    if (cli->item[i].option != o || (given && cli->item[i].from_config)) continue;
    found = cli->item[i].text;
    given = !cli->item[i].from_config;
  }
  return found;
}

bool cli_flag(const struct cli *cli, enum opt o) {
  const char *s = cli_text(cli, o);
  return s && strcmp(s, "false") != 0;
}

int64_t cli_int(const struct cli *cli, enum opt o, int64_t otherwise) {
  double v;
  const char *s = cli_text(cli, o);
  if (!s) return otherwise;
  if (rows[o].kind == INTS) return strtol(s, NULL, 10);
  return (rows[o].kind == SIZE ? parse_size(s, &v) : parse_int(s, &v)) ? (int64_t)v : otherwise;
}

double cli_real(const struct cli *cli, enum opt o, double otherwise) {
  double v;
  const char *s = cli_text(cli, o);
  return s && parse_real(s, &v) ? v : otherwise;
}

int cli_ints(const struct cli *cli, enum opt o, int *v, int cap) {
  const char *s = cli_text(cli, o);
  int n = 0;
  while (s && n < cap) {
    char *end;
    v[n++] = (int)strtol(s, &end, 10);
    s = *end == ',' ? end + 1 : NULL;
  }
  return n;
}

const char *cli_multi(const struct cli *cli, enum opt o, int i) {
  for (size_t k = 0; k < cli->nitem; k++)
    if (cli->item[k].option == o && i-- == 0) return cli->item[k].text;
  return NULL;
}

enum fvm_status cli_dims(struct cli *cli, struct dim_binding **dim, int *n, struct fvm_error *err) {
  *n = 0;
  while (cli_multi(cli, OPT_DIM, *n)) ++*n;
  *dim = ARENA_NEW(&cli->arena, struct dim_binding, *n);
  if (!*dim) return fvm_nomem(err);
  for (int i = 0; i < *n; i++) {
    char *text = arena_strdup(&cli->arena, cli_multi(cli, OPT_DIM, i)), *end;
    if (!text) return fvm_nomem(err);
    char *eq = strchr(text, '=');
    *eq = 0;
    long long size = strtoll(eq + 1, &end, 10);
    if (end == eq + 1 || *end || size < 1)
      return fvm_fail(err, FVM_EUSAGE, "--dim %s=%s: expected a size of at least 1", text, eq + 1);
    (*dim)[i] = (struct dim_binding){text, size};
  }
  return FVM_OK;
}

/* ---- interrupts, progress ---- */

volatile int cli_interrupted;

/* The second signal ends the program the ordinary way. */
static void on_signal(int sig) {
  cli_interrupted = 1;
  signal(sig, SIG_DFL);
}

void cli_catch_interrupt(void) {
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
}

double cli_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_start(struct progress *p, const struct cli *cli) {
  const char *term = getenv("TERM");
  *p = (struct progress){.silent = cli_flag(cli, OPT_QUIET) || cli_flag(cli, OPT_JSON)};
  p->terminal = isatty(2) && term && strcmp(term, "dumb") != 0;
  p->start = p->last = cli_seconds();
}

static void print_line(double share, double seconds, double left, const char *what) {
  struct text line = {0};
  text_printf(&line,
              "{\"event\":\"progress\",\"done\":%.4f,\"seconds\":%.3f,\"seconds_left\":%.3f,"
              "\"text\":",
              share, seconds, left);
  json_string(&line, what);
  text_printf(&line, "}");
  if (!line.failed) puts(line.v);
  fflush(stdout);
  text_free(&line);
}

void progress_show(struct progress *p, double done, double total, const char *text) {
  double now = cli_seconds(), every = p->terminal ? 0.1 : 5, share = total > 0 ? done / total : 0;
  double spent = now - p->start, left = share > 0 ? spent * (1 - share) / share : 0;
  if (p->lines && share > p->share) print_line(share, spent, left, text);
  p->share = share;
  if (p->silent || now - p->last < every) return;
  p->last = now;
  fprintf(stderr, "%s%3.0f %%  %.0f s", p->terminal ? "\r" : "", 100 * share, spent);
  if (share > 0) fprintf(stderr, ", %.0f s left", left);
  fprintf(stderr, "  %s%s", text, p->terminal ? "\033[K" : "\n");
}

bool progress_go_on(void *progress, double done, double total, const char *text) {
  progress_show(progress, done, total, text);
  return !cli_interrupted;
}

void progress_end(struct progress *p) {
  if (!p->silent && p->terminal) fputs("\r\033[K", stderr);
}

enum fvm_status cli_print(struct text *t, struct fvm_error *err) {
  enum fvm_status st = t->failed ? fvm_nomem(err) : FVM_OK;
  if (st == FVM_OK && t->n) fwrite(t->v, 1, t->n, stdout);
  text_free(t);
  return st;
}
