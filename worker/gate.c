#include "worker/gate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct idle {
	void *conn;
	int64_t since_ms;
};

struct waiter {
	struct waiter *prev, *next;
};

struct gate {
	size_t most; /* SIZE_MAX: no limit */
	int64_t lifetime_ms;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct waiter *waiters; /* the first one is next */
	size_t in_use;
	size_t n_idle;
	struct idle idle[]; /* the one that was used last stands last */
};

struct gate *gate_new(int most, size_t users, int64_t lifetime_ms)
{
	struct gate *g = calloc(1, sizeof *g + (users + 1) * sizeof g->idle[0]);
	if (!g)
		return NULL;
	g->most = most > 0 ? (size_t)most : SIZE_MAX;
	g->lifetime_ms = lifetime_ms;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	return g;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* An idle connection is taken before a new one is made, so that the two together never exceed the limit. */
static bool is_full(const struct gate *g)
{
	return g->n_idle == 0 && g->in_use >= g->most;
}

bool gate_enter(struct gate *g, bool (*over)(void *), void *ctx, void **conn)
{
	struct waiter me;
	bool in = true;
	pthread_mutex_lock(&g->lock);
	DL_APPEND(g->waiters, &me);
	while (in && (g->waiters != &me || is_full(g))) {
		in = !over(ctx);
		if (in)
			pthread_cond_wait(&g->changed, &g->lock);
	}
	DL_DELETE(g->waiters, &me);
	*conn = NULL;
	if (in) {
		g->in_use++;
		if (g->n_idle)
			*conn = g->idle[--g->n_idle].conn;
	}
	if (g->waiters)
		pthread_cond_broadcast(&g->changed); /* another one is first now */
	pthread_mutex_unlock(&g->lock);
	return in;
}

void gate_leave(struct gate *g, void *conn, int64_t now_ms)
{
	pthread_mutex_lock(&g->lock);
	g->in_use--;
	if (conn)
		g->idle[g->n_idle++] = (struct idle){.conn = conn, .since_ms = now_ms};
	if (g->waiters)
		pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

void gate_kick(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

void *gate_stale(struct gate *g, int64_t now_ms, bool all)
{
	void *conn = NULL;
	pthread_mutex_lock(&g->lock);
	bool old = g->n_idle && g->lifetime_ms && now_ms - g->idle[0].since_ms >= g->lifetime_ms;
	if (old || (all && g->n_idle)) {
		conn = g->idle[0].conn;
		memmove(g->idle, g->idle + 1, --g->n_idle * sizeof g->idle[0]);
		g->in_use++; /* it is open until the caller has closed it */
	}
	pthread_mutex_unlock(&g->lock);
	return conn;
}
