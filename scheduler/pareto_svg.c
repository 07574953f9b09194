/* A front as a picture. Contract: pareto.h.
 *
 *   ms |      5
 *      |      |__4
 *      |         |__3
 *      |            |____2
 *      |                 |_____1____
 *      +----------------------------- MiB */
#include <math.h>

#include "pareto.h"

enum { WIDTH = 760, HEIGHT = 440, LEFT = 76, RIGHT = 28, TOP = 54, BOTTOM = 58, TICKS = 6 };

/* One axis: values from low to high between two places of the picture. */
struct axis {
  double low, high, step;
  double from, to;
};

static double at(const struct axis *a, double value) {
  return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

/* 1, 2 or 5 times a power of ten, so that about TICKS of them are in the range. */
static double nice_step(double range) {
  double power = pow(10, floor(log10(range / TICKS))), more = range / TICKS / power;
  return power * (more <= 1 ? 1 : more <= 2 ? 2 : more <= 5 ? 5 : 10);
}

/* Whole steps around the values. */
static struct axis axis_of(double least, double most, double from, double to) {
  double range = most - least > 1e-6 * most ? most - least : most > 0 ? most / 4 : 1;
  struct axis a = {.step = nice_step(range), .from = from, .to = to};
  a.low = fmax(0, floor(least / a.step - 0.25) * a.step);
  a.high = ceil(most / a.step + 0.25) * a.step;
  return a;
}

static double ms(const struct pareto_point *p) { return (double)p->latency_ns * 1e-6; }
static double mib(const struct pareto_point *p) { return (double)p->memory / 1048576; }

static int decimals(double step) { return step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9); }

static void put_escaped(struct text *out, const char *s) {
  for (; *s; s++)
    text_printf(out, *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '&' ? "&amp;" : "%c", *s);
}

static void begin(const char *title, struct text *out) {
  text_printf(out,
              "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
              "height=\"%d\" role=\"img\" font-family=\"system-ui, sans-serif\">\n<title>",
              WIDTH, HEIGHT, WIDTH, HEIGHT);
  put_escaped(out, title);
  text_printf(out, "</title>\n<style>\n"
                   ".paper{fill:#ffffff} .ink{fill:#1f2933} .soft{fill:#5c6773}\n"
                   ".grid{stroke:#e3e8ee} .axis{stroke:#9aa5b1}\n"
                   ".line{stroke:#1565c0;fill:none} .dot{fill:#1565c0}\n"
                   "@media (prefers-color-scheme:dark){\n"
                   ".paper{fill:#0f141a} .ink{fill:#e6edf3} .soft{fill:#9fb0c0}\n"
                   ".grid{stroke:#26303a} .axis{stroke:#5c6b7a}\n"
                   ".line{stroke:#6cb2ff} .dot{fill:#6cb2ff}}\n</style>\n");
  text_printf(out, "<rect class=\"paper\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n", WIDTH, HEIGHT);
  text_printf(out, "<text class=\"ink\" x=\"%d\" y=\"30\" font-size=\"16\" font-weight=\"600\">",
              LEFT);
  put_escaped(out, title);
  text_printf(out, "</text>\n");
}

struct line {
  double x1, x2, y1, y2;
};

/* A line across the picture at a value of an axis, and the value at x, y. */
static void put_tick(const struct axis *a, double v, const struct line *l, double x, double y,
                     const char *anchor, struct text *out) {
  text_printf(out,
              "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
              "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"12\" "
              "text-anchor=\"%s\">%.*f</text>\n",
              l->x1, l->x2, l->y1, l->y2, x, y, anchor, decimals(a->step), v);
}

static void put_axes(const struct axis *x, const struct axis *y, struct text *out) {
  for (int i = 0; x->low + i * x->step <= x->high + x->step / 2; i++) {
    double v = x->low + i * x->step, px = at(x, v);
    put_tick(x, v, &(struct line){px, px, y->from, y->to}, px, y->from + 18, "middle", out);
  }
  for (int i = 0; y->low + i * y->step <= y->high + y->step / 2; i++) {
    double v = y->low + i * y->step, py = at(y, v);
    put_tick(y, v, &(struct line){x->from, x->to, py, py}, x->from - 8, py + 4, "end", out);
  }
  text_printf(out,
              "<path class=\"axis\" fill=\"none\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n"
              "<text class=\"ink\" x=\"%.1f\" y=\"%d\" font-size=\"13\" text-anchor=\"middle\">"
              "memory, MiB (weights, activations, scratch)</text>\n"
              "<text class=\"ink\" transform=\"translate(22 %.1f) rotate(-90)\" font-size=\"13\" "
              "text-anchor=\"middle\">predicted latency, ms</text>\n",
              x->from, y->to, y->from, x->to, (x->from + x->to) / 2, HEIGHT - 16,
              (y->from + y->to) / 2);
}

static void put_stairs(const struct pareto_point *p, int n, const struct axis *x,
                       const struct axis *y, struct text *out) {
  text_printf(out, "<path class=\"line\" stroke-width=\"2\" d=\"M%.1f %.1f", x->to, at(y, ms(p)));
  for (int i = 0; i < n; i++) text_printf(out, "V%.1fH%.1f", at(y, ms(&p[i])), at(x, mib(&p[i])));
  text_printf(out, "\"/>\n");
}

/* All points have their numbers, the first and the last their values, too; the rest of them shows
 * to who points there. The first one's text stands below the stairs, where nothing else does. */
static void put_points(const struct pareto_point *p, int n, const struct axis *x,
                       const struct axis *y, struct text *out) {
  for (int i = 0; i < n; i++) {
    double px = at(x, mib(&p[i])), py = at(y, ms(&p[i]));
    bool first = i == 0, last = i == n - 1;
    text_printf(out, "<g><circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", px, py);
    text_printf(out, "<text class=\"ink\" x=\"%.1f\" y=\"%.1f\" font-size=\"12\"%s>%d",
                px + (first ? -2 : 6), first ? py + 18 : py - 7,
                first ? " text-anchor=\"middle\"" : "", i + 1);
    if (first || last) text_printf(out, ": %.3g ms, %.3g MiB", ms(&p[i]), mib(&p[i]));
    text_printf(out, "</text><title>");
    put_escaped(out, p[i].plan);
    text_printf(out, ": %.3f ms (bound %.3f), %.2f MiB</title></g>\n", ms(&p[i]),
                (double)p[i].bound_ns * 1e-6, mib(&p[i]));
  }
}

void pareto_svg(const struct pareto_point *p, int n, const char *title, struct text *out) {
  double low_x = INFINITY, high_x = 0, low_y = INFINITY, high_y = 0;
  for (int i = 0; i < n; i++) {
    low_x = fmin(low_x, mib(&p[i])), high_x = fmax(high_x, mib(&p[i]));
    low_y = fmin(low_y, ms(&p[i])), high_y = fmax(high_y, ms(&p[i]));
  }
  begin(title, out);
  if (n > 0) {
    struct axis x = axis_of(low_x, high_x, LEFT, WIDTH - RIGHT);
    struct axis y = axis_of(low_y, high_y, HEIGHT - BOTTOM, TOP);
    put_axes(&x, &y, out);
    put_stairs(p, n, &x, &y, out);
    put_points(p, n, &x, &y, out);
  }
  text_printf(out, "</svg>\n");
}
