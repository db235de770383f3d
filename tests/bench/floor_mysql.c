/* The floor of `small-my`: tables made by the fewest statements that still publish atomically, and nothing else.
 *
 *     floor_mysql HOST PORT USER PASSWORD DATABASE FILE CLIENTS COUNT
 *
 * FILE holds what follows CREATE TABLE `floor_<i>` (columns, and a SELECT of literal rows): one statement, which MariaDB
 * carries out whole or not at all. CLIENTS threads, each with a connection of its own, make COUNT tables together. Prints
 * how many a second.
 */
#include <mysql.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENTS_MAX 100

static const char *const *words; /* HOST and so on */
static char *tail;
static unsigned port;
static int count;
static atomic_int next;
static pthread_barrier_t ready;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "floor_mysql: %s: %s\n", what, why);
	exit(1);
}

static void *client(void *arg)
{
	(void)arg;
	size_t size = strlen(tail) + 64;
	char *sql = malloc(size);
	MYSQL *my = mysql_init(NULL);
	if (!sql || !my)
		die("start", "no memory");
	if (!mysql_real_connect(my, words[0], words[2], words[3], words[4], port, NULL, 0))
		die("connect", mysql_error(my));
	pthread_barrier_wait(&ready);
	for (int i = atomic_fetch_add(&next, 1); i < count; i = atomic_fetch_add(&next, 1)) {
		int len = snprintf(sql, size, "CREATE TABLE `floor_%d` %s", i, tail);
		if (mysql_real_query(my, sql, (unsigned long)len) != 0)
			die("create", mysql_error(my));
	}
	mysql_close(my);
	free(sql);
	return NULL;
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text = calloc(1, 1 << 20);
	if (!f || !text || fread(text, 1, (1 << 20) - 1, f) == 0)
		die(path, "cannot be read");
	(void)fclose(f);
	return text;
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 9)
		die("usage", "HOST PORT USER PASSWORD DATABASE FILE CLIENTS COUNT");
	words = (const char *const *)argv + 1;
	port = (unsigned)strtoul(argv[2], NULL, 10);
	tail = read_file(argv[6]);
	long clients = strtol(argv[7], NULL, 10);
	count = (int)strtol(argv[8], NULL, 10);
	if (clients < 1 || clients > CLIENTS_MAX || mysql_library_init(0, NULL, NULL) != 0)
		die("start", "a number is wrong");
	pthread_barrier_init(&ready, NULL, (unsigned)clients + 1);
	pthread_t threads[CLIENTS_MAX];
	for (long i = 0; i < clients; i++)
		if (pthread_create(&threads[i], NULL, client, NULL) != 0)
			die("start", "no thread");
	pthread_barrier_wait(&ready);
	double began = seconds();
	for (long i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	printf("%.1f\n", count / (seconds() - began));
	free(tail);
	return 0;
}
