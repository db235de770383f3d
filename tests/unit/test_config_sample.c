/* Holds config.sample.yml and the README against the table of keys. Runs in the root of the repository. With --print it
 * prints the README's table instead. */
#include "shared/base/buf.h"
#include "shared/config/yaml_tree.h"
#include "tests/unit/test_config_fixture.h"

#define SAMPLE "config.sample.yml"

/* The whole file, owned; NULL when it does not exist. */
static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	struct buf b;
	buf_init(&b, 1 << 24);
	for (int c; (c = fgetc(f)) != EOF;)
		buf_addc(&b, (char)c);
	fclose(f);
	return buf_take(&b);
}

/* Takes away each `#` that stands before a key, and so switches the defaults on. */
static void uncomment(char *text)
{
	bool begin = true; /* of a line, blanks aside */
	for (char *p = text; *p; p++) {
		if (begin && *p == '#' && p[1] != ' ' && p[1] != '\n')
			memmove(p, p + 1, strlen(p));
		begin = *p == '\n' || (begin && *p == ' ');
	}
}

/* The node of a key; "*" is the first database. */
static const struct yaml_tree *find(const struct yaml_tree *node, const char *path)
{
	char key[64];
	while (node && node->kind == TREE_MAP) {
		size_t n = strcspn(path, ".");
		snprintf(key, sizeof key, "%.*s", (int)n, path);
		node = strcmp(key, "*") == 0 ? node->first : yaml_tree_get(node, key);
		if (!path[n])
			return node;
		path += n + 1;
	}
	return NULL;
}

static bool same(const struct yaml_tree *a, const struct yaml_tree *b)
{
	if (!a || !b)
		return a == b;
	if (a->kind != b->kind || (a->kind == TREE_SCALAR && (a->plain != b->plain || strcmp(a->text, b->text) != 0)))
		return false;
	const struct yaml_tree *x = a->first, *y = b->first;
	for (; x && y; x = x->next, y = y->next)
		if (!same(x, y))
			return false;
	return x == y;
}

static void test_config_sample_names_every_key_with_its_default(void **state)
{
	(void)state;
	size_t count;
	const struct config_key *keys = config_keys(&count);
	struct err e = ERR_INIT;
	struct yaml_tree *sample = NULL, *fallback = NULL;
	char *text = slurp(SAMPLE);
	assert_non_null(text);
	uncomment(text);
	if (yaml_tree_parse(SAMPLE, text, strlen(text), &sample, &e))
		fail_msg("%s", e.text);
	for (size_t i = 0; i < count; i++) {
		const struct yaml_tree *node = find(sample, keys[i].path);
		if (!node)
			fail_msg(SAMPLE " has no %s", keys[i].path);
		if (!keys[i].fallback)
			continue;
		assert_int_equal(
		        yaml_tree_parse("", keys[i].fallback, strlen(keys[i].fallback), &fallback, &e), ERR_OK);
		if (!same(node, fallback))
			fail_msg(SAMPLE ":%d: %s is not %s", node->line, keys[i].path, keys[i].fallback);
		yaml_tree_free(fallback);
	}
	yaml_tree_free(sample);
	free(text);
}

static void test_config_sample_is_a_configuration_with_and_without_its_defaults(void **state)
{
	(void)state;
	char path[] = "/tmp/dungbeetle-sample-XXXXXX";
	char *text = slurp(SAMPLE);
	assert_non_null(text);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	for (int i = 0; i < 2; i++) {
		struct err e = ERR_INIT;
		struct config *c = NULL;
		struct config_flags flags = {.program = PROGRAM_WORKER, .config_path = path};
		fixture_write(path, text, strlen(text));
		enum err_code rc = config_load(&flags, NULL, &c, &e);
		if (rc)
			fail_msg("%s", e.text);
		config_free(c);
		uncomment(text);
	}
	unlink(path);
	free(text);
}

static void test_config_table_is_complete(void **state)
{
	(void)state;
	size_t count;
	const struct config_key *keys = config_keys(&count);
	for (size_t i = 0; i < count; i++) {
		assert_non_null(keys[i].type);
		assert_non_null(keys[i].rule);
		if (!keys[i].help || keys[i].help[strlen(keys[i].help) - 1] != '.')
			fail_msg("the help of %s is no sentence", keys[i].path);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(keys[i].path, keys[j].path);
	}
}

static char *markdown(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	assert_non_null(f);
	config_print_markdown(f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void test_config_markdown_has_one_row_a_key(void **state)
{
	(void)state;
	size_t count, rows = 0;
	const struct config_key *keys = config_keys(&count);
	char *text = markdown();
	for (const char *p = text; *p; p++)
		rows += *p == '\n';
	assert_int_equal(rows, count + 2);
	for (size_t i = 0; i < count; i++) {
		char cell[96];
		snprintf(cell, sizeof cell, "\n| `%s` | ", keys[i].path);
		assert_non_null(strstr(text, cell));
	}
	assert_non_null(strstr(text, "\n| `worker.lease` | duration from 1s to 1h | `15s` | "));
	assert_non_null(strstr(text, "\n| `results.*.type` | `postgres`, `mysql` | required | "));
	free(text);
}

static void test_config_readme_has_the_table(void **state)
{
	(void)state;
	char *readme = slurp("README.md");
	const char *marker = readme ? strstr(readme, "<!-- config -->") : NULL;
	if (!marker) {
		free(readme);
		skip();
	}
	char *table = markdown();
	bool found = strstr(marker, table) != NULL;
	free(table);
	free(readme);
	if (!found)
		fail_msg("put what test_config_sample --print prints behind <!-- config --> in README.md");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_config_table_is_complete),
	        cmocka_unit_test(test_config_sample_names_every_key_with_its_default),
	        cmocka_unit_test(test_config_sample_is_a_configuration_with_and_without_its_defaults),
	        cmocka_unit_test(test_config_markdown_has_one_row_a_key),
	        cmocka_unit_test(test_config_readme_has_the_table),
	};
	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		config_print_markdown(stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
