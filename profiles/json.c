#include "json.h"

/* Bytes of the UTF-8 sequence at s (1 to 4), or 0 when it is none. Surrogates and overlong forms
 * are none. */
static int utf8_length(const unsigned char *s) {
  static const struct {
    unsigned char lo, hi, next_lo, next_hi;
    int len;
  } form[] = {
      {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
      {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
      {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
  };
  for (size_t i = 0; i < COUNT(form); i++) {
    if (s[0] < form[i].lo || s[0] > form[i].hi) continue;
    if (form[i].len > 1 && (s[1] < form[i].next_lo || s[1] > form[i].next_hi)) return 0;
    for (int k = 2; k < form[i].len; k++)
      if ((s[k] & 0xc0) != 0x80) return 0;
    return form[i].len;
  }
  return 0;
}

void json_string(struct text *out, const char *s) {
  if (!s) {
    text_printf(out, "null");
    return;
  }
  text_printf(out, "\"");
  for (const unsigned char *p = (const unsigned char *)s; *p;) {
    int len = utf8_length(p);
    if (len == 0)
      text_printf(out, "\\ufffd");
    else if (*p == '"' || *p == '\\')
      text_printf(out, "\\%c", *p);
    else if (*p < 0x20 || *p == 0x7f)
      text_printf(out, "\\u%04x", *p);
    else
      text_printf(out, "%.*s", len, (const char *)p);
    p += MAX(len, 1);
  }
  text_printf(out, "\"");
}
