#include "fcgi/uuid.h"

#include <string.h>
#include <sys/random.h>

#define BYTES 16

/* Takes 16 random bytes from a supply, so that the kernel is asked once for many ids. */
static bool random_bytes(unsigned char out[BYTES])
{
	static _Thread_local unsigned char supply[BYTES * 64];
	static _Thread_local size_t left;
	if (left == 0) {
		/* Requests of up to 256 bytes are never cut short (getrandom(2)). */
		for (size_t i = 0; i < sizeof supply; i += 256)
			if (getrandom(supply + i, 256, 0) != 256)
				return false;
		left = sizeof supply;
	}
	left -= BYTES;
	memcpy(out, supply + left, BYTES);
	return true;
}

bool uuid_make(char out[UUID_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char bytes[BYTES];
	if (!random_bytes(bytes))
		return false;
	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	char *p = out;
	for (int i = 0; i < BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[bytes[i] >> 4];
		*p++ = hex[bytes[i] & 15];
	}
	*p = '\0';
	return true;
}
