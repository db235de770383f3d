#include "worker/health.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
	int64_t wait_ms;  /* how long the current rest is; 0: up */
	int64_t until_ms; /* when it is over */
	int64_t tried_ms; /* when it was last tried, while down */
	char why[HEALTH_WHY_SIZE];
};

struct health {
	pthread_mutex_t lock; /* guards what follows */
	size_t n;
	struct state states[];
};

struct health *health_new(size_t n)
{
	struct health *h = calloc(1, sizeof *h + n * sizeof h->states[0]);
	if (!h)
		return NULL;
	h->n = n;
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void health_free(struct health *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static bool may_be_tried(const struct state *s, int64_t now_ms)
{
	return s->wait_ms == 0 || now_ms >= s->until_ms;
}

/* A rest that is longer than the last one. */
static void rest_from(struct state *s, int64_t now_ms)
{
	s->wait_ms = s->wait_ms ? s->wait_ms * 2 : HEALTH_FIRST_MS;
	if (s->wait_ms > HEALTH_MOST_MS)
		s->wait_ms = HEALTH_MOST_MS;
	s->until_ms = now_ms + s->wait_ms;
}

/* The place of the k-th of the list that may be tried. */
static size_t kth(const struct health *h, const size_t *list, size_t n, size_t k, int64_t now_ms)
{
	for (size_t at = 0; at < n; at++)
		if (may_be_tried(&h->states[list[at]], now_ms) && k-- == 0)
			return at;
	return HEALTH_NONE;
}

static size_t longest_ago(const struct health *h, const size_t *list, size_t n)
{
	size_t best = HEALTH_NONE;
	for (size_t at = 0; at < n; at++)
		if (best == HEALTH_NONE || h->states[list[at]].tried_ms < h->states[list[best]].tried_ms)
			best = at;
	return best;
}

size_t health_pick(struct health *h, const size_t *list, size_t n, uint32_t random, int64_t now_ms, bool *rest)
{
	size_t good = 0, at = HEALTH_NONE;
	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < n; i++)
		good += may_be_tried(&h->states[list[i]], now_ms);
	if (good) {
		at = kth(h, list, n, random % good, now_ms);
		struct state *s = &h->states[list[at]];
		if (s->wait_ms) /* on trial: should it fail, then it has been down for long enough to wait longer */
			rest_from(s, now_ms);
	} else if (*rest) {
		at = longest_ago(h, list, n);
		*rest = false;
		if (at != HEALTH_NONE && now_ms - h->states[list[at]].tried_ms < HEALTH_PAUSE_MS)
			at = HEALTH_NONE;
	}
	if (at != HEALTH_NONE)
		h->states[list[at]].tried_ms = now_ms;
	pthread_mutex_unlock(&h->lock);
	return at;
}

bool health_is_down(struct health *h, size_t i, int64_t now_ms)
{
	pthread_mutex_lock(&h->lock);
	bool down = h->states[i].wait_ms != 0 && now_ms - h->states[i].tried_ms < HEALTH_MOST_MS;
	pthread_mutex_unlock(&h->lock);
	return down;
}

bool health_down(struct health *h, size_t i, int64_t now_ms, const char *why)
{
	pthread_mutex_lock(&h->lock);
	struct state *s = &h->states[i];
	bool news = s->wait_ms == 0;
	/* Several slots may hear the same refusal: it counts once. */
	if (may_be_tried(s, now_ms))
		rest_from(s, now_ms);
	s->tried_ms = now_ms;
	snprintf(s->why, sizeof s->why, "%s", why);
	pthread_mutex_unlock(&h->lock);
	return news;
}

bool health_up(struct health *h, size_t i)
{
	pthread_mutex_lock(&h->lock);
	bool news = h->states[i].wait_ms != 0;
	h->states[i] = (struct state){0};
	pthread_mutex_unlock(&h->lock);
	return news;
}

void health_why(struct health *h, size_t i, char out[HEALTH_WHY_SIZE])
{
	pthread_mutex_lock(&h->lock);
	memcpy(out, h->states[i].why, HEALTH_WHY_SIZE);
	pthread_mutex_unlock(&h->lock);
}
