#include "shared/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_clock_rfc3339_writes_utc_with_millis_when_there_are_some(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} wants[] = {{0, CLOCK_ZERO_TIME}, {-1, CLOCK_ZERO_TIME}, {INT64_MIN, CLOCK_ZERO_TIME},
	        {1, "1970-01-01T00:00:00.001Z"}, {1000, "1970-01-01T00:00:01Z"},
	        {INT64_C(1764001644123), "2025-11-24T16:27:24.123Z"},
	        {INT64_C(951782400050), "2000-02-29T00:00:00.050Z"},
	        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"}};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		char out[CLOCK_RFC3339_SIZE];
		clock_rfc3339(wants[i].ms, out);
		assert_string_equal(out, wants[i].text);
	}
	char out[CLOCK_RFC3339_SIZE];
	clock_rfc3339(INT64_MAX, out); /* whatever it says, it fits */
	assert_true(strlen(out) < sizeof out);
}

static void test_clock_parse_reads_both_forms(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} wants[] = {{"1970-01-01 00:00:00", 0}, {"2025-11-24 16:27:24", INT64_C(1764001644000)},
	        {"2025-11-24T16:27:24Z", INT64_C(1764001644000)}, {"2025-11-24t16:27:24z", INT64_C(1764001644000)},
	        {"2025-11-24T16:27:24.5Z", INT64_C(1764001644500)},
	        {"2025-11-24T16:27:24.1239999Z", INT64_C(1764001644123)},
	        {"2025-11-24T16:27:24.050", INT64_C(1764001644050)},
	        {"2025-11-24T18:27:24+02:00", INT64_C(1764001644000)},
	        {"2025-11-24T10:57:24.5-05:30", INT64_C(1764001644500)}, {"2000-02-29 00:00:00", INT64_C(951782400000)},
	        {"9999-12-31 23:59:59.999", INT64_C(253402300799999)}};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		int64_t ms = -1;
		assert_true(clock_parse(wants[i].text, strlen(wants[i].text), &ms));
		assert_true(ms == wants[i].ms);
	}
	int64_t ms = -1;
	assert_true(clock_parse("2025-11-24 16:27:24XYZ", 19, &ms));
	assert_true(ms == INT64_C(1764001644000));
}

static void test_clock_parse_refuses_what_names_no_moment(void **state)
{
	(void)state;
	static const char *const wrong[] = {"", "2025-11-24", "2025-11-24 16:27", "2025-11-24  16:27:24",
	        "2025-11-24 16:27:24 ", " 2025-11-24 16:27:24", "2025-1-24 16:27:24", "25-11-24 16:27:24",
	        "2025/11/24 16:27:24", "2025-00-24 16:27:24", "2025-13-24 16:27:24", "2025-11-00 16:27:24",
	        "2025-11-31 16:27:24", "2025-02-29 00:00:00", "2100-02-29 00:00:00", "2025-11-24 24:00:00",
	        "2025-11-24 16:60:00", "2025-11-24 16:27:60", "2025-11-24X16:27:24", "2025-11-24T16:27:24.",
	        "2025-11-24T16:27:24.Z", "2025-11-24T16:27:24+2:00", "2025-11-24T16:27:24+0200",
	        "2025-11-24T16:27:24+24:00", "2025-11-24T16:27:24+02:60", "2025-11-24T16:27:24+02:00Z",
	        "2025-11-24T16:27:24ZZ", "1969-12-31 23:59:59", "1970-01-01T00:00:00+00:01",
	        "9999-12-31T23:59:59-00:01", "-2025-11-24 16:27:24"};
	int64_t ms = 42;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (clock_parse(wrong[i], strlen(wrong[i]), &ms))
			fail_msg("%s was taken", wrong[i]);
	assert_false(clock_parse("2025-11-24\0"
	                         "16:27:24",
	        19, &ms));
	assert_int_equal(ms, 42);
}

static void test_clock_parse_reads_what_rfc3339_writes_for_every_day(void **state)
{
	(void)state;
	for (int64_t ms = 86400000 + 1; ms < INT64_C(253402300799999); ms += 86400000 * INT64_C(37) + 12345) {
		char text[CLOCK_RFC3339_SIZE];
		int64_t again = -1;
		clock_rfc3339(ms, text);
		assert_true(clock_parse(text, strlen(text), &again));
		assert_true(again == ms);
	}
}

static void test_clock_reads_the_time(void **state)
{
	(void)state;
	int64_t before = (int64_t)time(NULL) * 1000, wall = clock_wall_ms(), mono = clock_mono_ms();
	/* time() may lag behind by a tick */
	assert_true(wall >= before && wall <= before + 60000);
	struct timespec pause = {0, 20 * 1000 * 1000};
	nanosleep(&pause, NULL);
	int64_t passed = clock_mono_ms() - mono;
	assert_true(passed >= 19 && passed < 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_clock_rfc3339_writes_utc_with_millis_when_there_are_some),
	        cmocka_unit_test(test_clock_parse_reads_both_forms),
	        cmocka_unit_test(test_clock_parse_refuses_what_names_no_moment),
	        cmocka_unit_test(test_clock_parse_reads_what_rfc3339_writes_for_every_day),
	        cmocka_unit_test(test_clock_reads_the_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
