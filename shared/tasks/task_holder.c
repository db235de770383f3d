#include "shared/tasks/tasks.h"

#include <pthread.h>
#include <stdlib.h>

struct task_holder {
	pthread_mutex_t lock; /* guards `set`, the pointer: between reading it and adding a reference it must not go */
	struct task_set *set; /* owns one reference */
};

struct task_holder *task_holder_new(struct task_set *takes)
{
	struct task_holder *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	if (pthread_mutex_init(&h->lock, NULL) != 0) {
		free(h);
		return NULL;
	}
	h->set = takes;
	return h;
}

void task_holder_free(struct task_holder *h)
{
	if (!h)
		return;
	task_set_unref(h->set);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

struct task_set *task_holder_get(struct task_holder *h)
{
	pthread_mutex_lock(&h->lock);
	struct task_set *set = task_set_ref(h->set);
	pthread_mutex_unlock(&h->lock);
	return set;
}

enum err_code task_holder_reload(struct task_holder *h, const struct config *c, struct err *e)
{
	struct task_set *fresh;
	enum err_code rc = task_set_load(c, &fresh, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&h->lock);
	struct task_set *old = h->set;
	h->set = fresh;
	pthread_mutex_unlock(&h->lock);
	task_set_unref(old); /* outside of the lock: it may free much */
	return ERR_OK;
}
