// strftime for templates that tell the model the date: the English names whatever the locale, from
// the caller's clock or the system's.

#include "llm/chat_value.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

namespace kiln {
namespace chat {

static const char days[] = "SundayMondayTuesdayWednesdayThursdayFridaySaturday";
static const uint8_t day_ends[] = {0, 6, 12, 19, 28, 36, 42, 50};
static const char months[] =
    "JanuaryFebruaryMarchAprilMayJuneJulyAugustSeptemberOctoberNovemberDecember";
static const uint8_t month_ends[] = {0, 7, 15, 20, 25, 28, 32, 36, 42, 51, 58, 66, 74};

static void put_name(machine_t *m, const char *names, const uint8_t *ends, int index, bool brief) {
  put(m, names + ends[index], brief ? 3 : (uint64_t)(ends[index + 1] - ends[index]));
}

static void put_padded(machine_t *m, int value, int width, bool bare) {
  char text[24];
  int bytes = snprintf(text, sizeof(text), "%0*d", bare ? 1 : width, value);
  put(m, text, (uint64_t)bytes);
}

static struct tm now(machine_t *m) {
  struct tm date = {};
  time_t seconds;
  if (m->options && m->options->local_time_s) {
    int64_t given = m->options->local_time_s, most = (int64_t)1 << 40; // some 34,000 years
    seconds = (time_t)(given > most ? most : given < -most ? -most : given);
    gmtime_r(&seconds, &date);
  } else {
    seconds = time(nullptr);
    localtime_r(&seconds, &date);
  }
  return date;
}

static void put_part(machine_t *m, const struct tm &date, char letter, bool bare) {
  int hour = date.tm_hour % 12 ? date.tm_hour % 12 : 12;
  switch (letter) {
  case 'a':
  case 'A':
    return put_name(m, days, day_ends, date.tm_wday, letter == 'a');
  case 'b':
  case 'h':
  case 'B':
    return put_name(m, months, month_ends, date.tm_mon, letter != 'B');
  case 'd':
    return put_padded(m, date.tm_mday, 2, bare);
  case 'm':
    return put_padded(m, date.tm_mon + 1, 2, bare);
  case 'y':
    return put_padded(m, (date.tm_year + 1900) % 100, 2, bare);
  case 'Y':
    return put_padded(m, date.tm_year + 1900, 1, true);
  case 'H':
    return put_padded(m, date.tm_hour, 2, bare);
  case 'I':
    return put_padded(m, hour, 2, bare);
  case 'M':
    return put_padded(m, date.tm_min, 2, bare);
  case 'S':
    return put_padded(m, date.tm_sec, 2, bare);
  case 'j':
    return put_padded(m, date.tm_yday + 1, 3, bare);
  case 'w':
    return put_padded(m, date.tm_wday, 1, true);
  case 'u':
    return put_padded(m, date.tm_wday ? date.tm_wday : 7, 1, true);
  case 'p':
    return put(m, date.tm_hour < 12 ? "AM" : "PM", 2);
  case 'e':
    if (date.tm_mday < 10)
      put_character(m, ' ');
    return put_padded(m, date.tm_mday, 1, true);
  case '%':
    return put_character(m, '%');
  default:
    raise_here(m, "strftime_now: %%%c is not supported", letter);
  }
}

void put_time(machine_t *m, const value_t &format) {
  struct tm date = now(m);
  const char *at = format.text, *end = at + format.count;
  while (at < end) {
    char c = *at++;
    if (c != '%' || at == end) {
      put_character(m, c);
      continue;
    }
    bool bare = *at == '-' && end - at > 1;
    at += bare;
    char letter = *at++;
    // The composed ones are made of the others.
    const char *parts = letter == 'F'   ? "Y-m-d"
                        : letter == 'T' ? "H:M:S"
                        : letter == 'R' ? "H:M"
                        : letter == 'D' ? "m/d/y"
                                        : nullptr;
    if (!parts)
      put_part(m, date, letter, bare);
    for (; parts && *parts; ++parts)
      memchr("-:/", *parts, 3) ? put_character(m, *parts) : put_part(m, date, *parts, false);
  }
}

} // namespace chat
} // namespace kiln
