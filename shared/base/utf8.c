#include "shared/base/utf8.h"

#include <stdbool.h>

size_t utf8_char(const char *p, size_t left)
{
	if (left == 0)
		return 0;
	const unsigned char *u = (const unsigned char *)p;
	if (u[0] < 0x80)
		return 1;
	size_t len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
	if (u[0] < 0xc2 || u[0] > 0xf4 || len > left)
		return 0;
	/* The second byte's range is narrower behind these four (Unicode 15, table 3-7). */
	unsigned char least = u[0] == 0xe0 ? 0xa0 : u[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char most = u[0] == 0xed ? 0x9f : u[0] == 0xf4 ? 0x8f : 0xbf;
	bool valid = u[1] >= least && u[1] <= most;
	for (size_t i = 2; i < len; i++)
		valid = valid && (u[i] & 0xc0) == 0x80;
	return valid ? len : 0;
}
