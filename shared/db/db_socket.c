#include "shared/db/db_socket.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "shared/base/clock.h"

#define GENTLE_MS 300

bool db_socket_see_off(int fd, int64_t ms)
{
	char rest[16384];
	int64_t until = clock_mono_ms() + ms;
	if (fd < 0 || shutdown(fd, SHUT_WR) != 0)
		return true; /* it is not connected */
	for (;;) {
		ssize_t got = recv(fd, rest, sizeof rest, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
			return true;
		int64_t left = until - clock_mono_ms();
		if (left <= 0)
			return false;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (got < 0)
			poll(&p, 1, (int)left);
	}
}

void db_insistence_reset(struct db_insistence *i)
{
	atomic_store(&i->since, 0);
}

bool db_insistence_is_due(struct db_insistence *i)
{
	int64_t none = 0, now = clock_mono_ms();
	return !atomic_compare_exchange_strong(&i->since, &none, now) && now - none >= GENTLE_MS;
}
