#include "shared/config/yaml_tree.h"

#include "tests/unit/test_config_fixture.h"

static struct yaml_tree *parsed(const char *text)
{
	struct err e = ERR_INIT;
	struct yaml_tree *root = NULL;
	if (yaml_tree_parse("t", text, strlen(text), &root, &e))
		fail_msg("%s", e.text);
	return root;
}

static void refused_bytes(const char *text, size_t len, const char *message)
{
	struct err e = ERR_INIT;
	struct yaml_tree *root = NULL;
	assert_int_equal(yaml_tree_parse("t", text, len, &root, &e), ERR_INVALID);
	assert_null(root);
	if (strncmp(e.text, message, strlen(message)) != 0)
		fail_msg("got \"%s\", wanted \"%s\"", e.text, message);
}

static void refused(const char *text, const char *message)
{
	refused_bytes(text, strlen(text), message);
}

static void test_yaml_keeps_lines_order_and_quoting(void **state)
{
	(void)state;
	struct yaml_tree *root = parsed("# one\na: 1\nb:\n  - x\n  - 'y'\n\nc: {d: \"e\"}\nf: |\n  g\n");
	const struct yaml_tree *a = yaml_tree_get(root, "a"), *b = yaml_tree_get(root, "b");
	const struct yaml_tree *c = yaml_tree_get(root, "c"), *f = yaml_tree_get(root, "f");
	assert_ptr_equal(root->first, a);
	assert_ptr_equal(root->last, f);
	assert_true(a->plain && a->line == 2 && strcmp(a->text, "1") == 0);
	assert_true(b->kind == TREE_LIST && b->line == 3);
	assert_true(b->first->plain && b->first->line == 4);
	assert_true(!b->last->plain && b->last->line == 5 && strcmp(b->last->text, "y") == 0);
	assert_true(c->kind == TREE_MAP && !yaml_tree_get(c, "d")->plain && c->line == 7);
	assert_true(!f->plain && strcmp(f->text, "g\n") == 0);
	assert_null(yaml_tree_get(root, "d"));
	yaml_tree_free(root);
}

static void test_yaml_takes_an_empty_text_for_an_empty_map(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "---\n...\n", "~"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct yaml_tree *root = parsed(texts[i]);
		assert_true(root->kind == TREE_MAP && !root->first && root->line == 1);
		yaml_tree_free(root);
	}
}

static void test_yaml_tells_nothing_from_an_empty_text(void **state)
{
	(void)state;
	struct yaml_tree *root = parsed("a:\nb: ~\nc: null\nd: ''\ne: 'null'\nf: nil\n");
	const char *const nulls = "abc", *const texts = "def";
	for (int i = 0; i < 3; i++) {
		assert_true(yaml_tree_is_null(yaml_tree_get(root, (char[]){nulls[i], 0})));
		assert_false(yaml_tree_is_null(yaml_tree_get(root, (char[]){texts[i], 0})));
	}
	yaml_tree_free(root);
}

static void test_yaml_refuses_what_hides_meaning(void **state)
{
	(void)state;
	refused("a: &x 1\nb: *x\n", "t:1: an anchor (&name) is not supported");
	refused("a: 1\nb: *x\n", "t:2: an alias (*name) is not supported");
	refused("a: &x [1]\n", "t:1: an anchor");
	refused("a: &x {b: 1}\n", "t:1: an anchor");
	refused("&x a: 1\n", "t:1: an anchor");
	refused("*x : 1\n", "t:1: an alias");
	refused("a: 1\nb: !!str 1\n", "t:2: a tag (!name) is not supported");
	refused("a: !x [1]\n", "t:1: a tag");
	refused("a: !x {b: 1}\n", "t:1: a tag");
	refused("a: 1\nb: 2\na: 3\n", "t:3: a: this key was given before, on line 1");
	refused("x:\n  a: 1\n  \"a\": 3\n", "t:3: a: this key was given before, on line 2");
	refused("pass word=hunter2: 1\npass word=hunter2: 1\n", "t:2: ?: this key was given before, on line 1");
	refused("a: 1\n---\nb: 2\n", "t:2: a second document (---) is not supported");
	refused("a: 1\n...\nb: 2\n", "t:3: ");
	refused("? [a]\n: 1\n", "t:1: expected a key, got a list or a map");
	refused("? {a: b}\n: 1\n", "t:1: expected a key, got a list or a map");
	refused("a: \"x\\0y\"\n", "t:1: a text must not hold a NUL byte");
	refused("\"x\\0y\": 1\n", "t:1: a text must not hold a NUL byte");
}

static void test_yaml_says_where_the_text_is_no_yaml(void **state)
{
	(void)state;
	refused("a: 1\nb: c: d\n", "t:2: expected YAML, got a mistake: mapping values are not allowed");
	refused("a: 1\nb: [1, 2\n", "t:3: expected YAML, got a mistake: ");
	refused("a: 1\nb: \"x\n", "t:3: expected YAML, got a mistake: ");
	refused("a: 1\n\tb: 2\n", "t:2: expected YAML, got a mistake: ");
	refused("a: 1\nb: \xff\n", "t:2: expected YAML, got a mistake: invalid leading UTF-8 octet");
	refused("a: 1\n\nb: \x01\n", "t:3: expected YAML, got a mistake: control characters are not allowed");
	refused_bytes("a: 1\nb: \0\n", 10, "t:2: expected YAML, got a mistake: control characters are not allowed");
}

static void test_yaml_refuses_deep_nesting_and_floods_quickly(void **state)
{
	(void)state;
	struct yaml_tree *root = parsed("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]");
	yaml_tree_free(root);
	refused("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "t:1: nested too deeply (at most 16 levels)");
	refused("{a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}}}",
	        "t:1: nested too deeply (at most 16 levels)");
	char *flood = malloc(YAML_TREE_BYTES_MAX + 1);
	assert_non_null(flood);
	memset(flood, '[', YAML_TREE_BYTES_MAX + 1);
	refused_bytes(flood, YAML_TREE_BYTES_MAX, "t:1: nested too deeply");
	refused_bytes(flood, YAML_TREE_BYTES_MAX + 1, "t:1: the file is too long (at most 1 MiB)");
	for (size_t i = 0; i < YAML_TREE_BYTES_MAX; i += 2)
		memcpy(flood + i, "-\n", 2);
	refused_bytes(flood, YAML_TREE_BYTES_MAX, "t:10000: the file has too many values");
	free(flood);
}

static void test_yaml_reads_a_file_or_says_why_not(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct yaml_tree *root = NULL;
	fixture_write("t.yml", "a: 1\n", 5);
	assert_int_equal(yaml_tree_read("t.yml", &root, &e), ERR_OK);
	assert_string_equal(yaml_tree_get(root, "a")->text, "1");
	yaml_tree_free(root);
	assert_int_equal(yaml_tree_read("none.yml", &root, &e), ERR_INVALID);
	assert_string_equal(e.text, "none.yml: cannot be read: No such file or directory");
	assert_int_equal(yaml_tree_read("/", &root, &e), ERR_INVALID);
	assert_string_equal(e.text, "/: cannot be read: Is a directory");
	assert_int_equal(yaml_tree_read("/dev/zero", &root, &e), ERR_INVALID);
	assert_string_equal(e.text, "/dev/zero:1: the file is too long (at most 1 MiB)");
	assert_null(root);
}

static void test_yaml_put_replaces_any_value(void **state)
{
	(void)state;
	struct yaml_tree *root = parsed("a: {b: 1}\nc: 2\n");
	const struct yaml_tree *a = yaml_tree_put(root, "a", "x", "--a");
	assert_true(a->kind == TREE_SCALAR && !a->first && strcmp(a->text, "x") == 0 && strcmp(a->origin, "--a") == 0);
	struct yaml_tree *list = yaml_tree_put_empty(root, "c", TREE_LIST, "--c");
	assert_true(list->kind == TREE_LIST && !list->text);
	assert_non_null(yaml_tree_append(list, "", "--c"));
	assert_false(yaml_tree_is_null(list->first));
	assert_non_null(yaml_tree_put(root, "new", "y", "--new"));
	assert_string_equal(root->last->key, "new");
	yaml_tree_free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_yaml_keeps_lines_order_and_quoting),
	        cmocka_unit_test(test_yaml_takes_an_empty_text_for_an_empty_map),
	        cmocka_unit_test(test_yaml_tells_nothing_from_an_empty_text),
	        cmocka_unit_test(test_yaml_refuses_what_hides_meaning),
	        cmocka_unit_test(test_yaml_says_where_the_text_is_no_yaml),
	        cmocka_unit_test(test_yaml_refuses_deep_nesting_and_floods_quickly),
	        cmocka_unit_test(test_yaml_reads_a_file_or_says_why_not),
	        cmocka_unit_test(test_yaml_put_replaces_any_value),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
