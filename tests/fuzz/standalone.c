/* Runs a fuzz target without libFuzzer: over each file of the directories and files it is given, and then over random
 * changes of them, always the same ones.
 *
 *   fuzz_x [-n CHANGES] PATH...
 *
 * When an input brings the process down, it is kept as finding-<pid> in the current directory, by which the target can be
 * called again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/parse.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 65536u /* bytes */
#define INPUTS_MAX 4096u
#define CHANGED_MAX 2048u /* bytes of an input that is changed: longer ones are slow and seldom tell more */

struct input {
	uint8_t *data;
	size_t size;
};

static struct input inputs[INPUTS_MAX];
static size_t n_inputs;

/* --- the finding --- */

static const uint8_t *current;
static size_t current_size;
static char finding[32], told[64]; /* the file that keeps it, and what is then said */

static void keep_finding(void)
{
	int fd = open(finding, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	ssize_t kept = write(fd, current, current_size);
	close(fd);
	if (kept == (ssize_t)current_size)
		(void)!write(STDERR_FILENO, told, strlen(told));
}

static void on_signal(int number)
{
	keep_finding();
	signal(number, SIG_DFL);
	raise(number);
}

/* A sanitizer's report ends the process without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
	static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	snprintf(finding, sizeof finding, "finding-%ld", (long)getpid());
	snprintf(told, sizeof told, "the input is kept as %s\n", finding);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		signal(signals[i], on_signal);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(keep_finding);
}

static void run(const uint8_t *data, size_t size)
{
	char *copy = fuzz_copy(data, size);
	current = data;
	current_size = size;
	fuzz_one((const uint8_t *)copy, size);
	free(copy);
}

/* --- the files --- */

static void die(const char *path)
{
	char why[64];
	fprintf(stderr, "%s: %s\n", path, err_errno(errno, why, sizeof why));
	exit(2);
}

static void read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX);
	if (!f || !data || n_inputs == INPUTS_MAX)
		die(path);
	inputs[n_inputs++] = (struct input){data, fread(data, 1, INPUT_MAX, f)};
	if (ferror(f) || fclose(f) != 0)
		die(path);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void read_path(const char *path)
{
	struct stat st;
	struct dirent **names;
	if (stat(path, &st) != 0)
		die(path);
	if (!S_ISDIR(st.st_mode)) {
		read_file(path);
		return;
	}
	int n = scandir(path, &names, is_visible, alphasort); /* in one order on every machine */
	if (n < 0)
		die(path);
	for (int i = 0; i < n; i++) {
		char file[4096];
		snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
		read_file(file);
		free(names[i]);
	}
	free(names);
}

/* --- changes --- */

static uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

/* xorshift64*; from 0 to n - 1. */
static size_t random_below(size_t n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (size_t)((seed * UINT64_C(2685821657736338717)) >> 33) % n;
}

/* One change of the size bytes at data, which has room for CHANGED_MAX; returns the new size. */
static size_t change(uint8_t *data, size_t size)
{
	static const uint8_t telling[] = "\0\xff\x80\xc3\xed'\"\\`$?%{}[]:,;-/*#\t\n\r 019aN.e";
	const struct input *other = &inputs[random_below(n_inputs)];
	size_t at = random_below(size + 1), n;
	switch (random_below(6)) {
	case 0: /* one bit */
		if (at < size)
			data[at] = (uint8_t)(data[at] ^ 1u << random_below(8));
		return size;
	case 1: /* one byte */
		if (at < size)
			data[at] = telling[random_below(sizeof telling - 1)];
		return size;
	case 2: /* some are gone */
		n = at < size ? 1 + random_below(size - at) : 0;
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 3: /* one more */
		if (size == CHANGED_MAX)
			return size;
		memmove(data + at + 1, data + at, size - at);
		data[at] = telling[random_below(sizeof telling - 1)];
		return size + 1;
	case 4: /* some twice */
		n = at < size ? 1 + random_below(size - at) : 0;
		if (n > CHANGED_MAX - size)
			return size;
		memmove(data + at + n, data + at, size - at);
		return size + n;
	default: /* the end of another one */
		n = other->size ? random_below(other->size) : 0;
		n = n < CHANGED_MAX - at ? n : CHANGED_MAX - at;
		if (n)
			memcpy(data + at, other->data + other->size - n, n);
		return at + n;
	}
}

static void run_changes(int64_t times)
{
	static uint8_t data[CHANGED_MAX];
	for (int64_t i = 0; i < times; i++) {
		const struct input *from = &inputs[random_below(n_inputs)];
		size_t size = from->size < CHANGED_MAX ? from->size : CHANGED_MAX;
		if (size)
			memcpy(data, from->data, size);
		for (size_t k = 1 + random_below(5); k > 0; k--)
			size = change(data, size);
		run(data, size);
	}
}

int main(int argc, char **argv)
{
	int64_t times = 0;
	int first = 1;
	if (argc > 2 && strcmp(argv[1], "-n") == 0) {
		if (!parse_i64(argv[2], strlen(argv[2]), 0, INT64_MAX, &times))
			return 2;
		first = 3;
	}
	watch();
	for (int i = first; i < argc; i++)
		read_path(argv[i]);
	if (n_inputs == 0) {
		fprintf(stderr, "usage: %s [-n CHANGES] PATH...\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < n_inputs; i++)
		run(inputs[i].data, inputs[i].size);
	run_changes(times);
	printf("%s: %zu kept inputs and %lld changes of them hold\n", argv[0], n_inputs, (long long)times);
	for (size_t i = 0; i < n_inputs; i++)
		free(inputs[i].data);
	return 0;
}
