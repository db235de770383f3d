#include "shared/db/ch_error.h"

#include <string.h>

#include "shared/base/parse.h"

/* How a server's number (ErrorCodes.cpp; they never change) is treated. */
enum sort {
	ORDINARY,
	REFUSED,  /* the login */
	PASSING,  /* another try may succeed; the text is about the server */
	OF_VALUE, /* of an argument, or of a row: the text quotes it */
	SILENT,   /* permanent, and the text quotes nothing of the query */
};

static const struct {
	int number;
	enum sort sort;
} numbers[] = {
        {192, REFUSED}, /* UNKNOWN_USER */
        {193, REFUSED}, /* WRONG_PASSWORD */
        {194, REFUSED}, /* REQUIRED_PASSWORD */
        {195, REFUSED}, /* IP_ADDRESS_NOT_ALLOWED */
        {516, REFUSED}, /* AUTHENTICATION_FAILED */

        {CH_TIMEOUT_EXCEEDED, PASSING}, {160, PASSING}, /* TOO_SLOW */
        {201, PASSING},                                 /* QUOTA_EXCEEDED */
        {202, PASSING},                                 /* TOO_MANY_SIMULTANEOUS_QUERIES */
        {203, PASSING},                                 /* NO_FREE_CONNECTION */
        {209, PASSING},                                 /* SOCKET_TIMEOUT */
        {210, PASSING},                                 /* NETWORK_ERROR */
        {216, PASSING},                                 /* QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING */
        {236, PASSING},                                 /* ABORTED */
        {241, PASSING},                                 /* MEMORY_LIMIT_EXCEEDED */
        {243, PASSING},                                 /* NOT_ENOUGH_SPACE */
        {279, PASSING},                                 /* ALL_CONNECTION_TRIES_FAILED */
        {285, PASSING},                                 /* TOO_FEW_LIVE_REPLICAS */
        {297, PASSING},                                 /* ALL_REPLICAS_ARE_STALE, in old versions */
        {369, PASSING},                                 /* ALL_REPLICAS_ARE_STALE */
        {373, PASSING},                                 /* SESSION_IS_LOCKED */
        {394, PASSING},                                 /* QUERY_WAS_CANCELLED */
        {425, PASSING},                                 /* SYSTEM_ERROR */
        {439, PASSING},                                 /* CANNOT_SCHEDULE_TASK */
        {473, PASSING},                                 /* DEADLOCK_AVOIDED */
        {745, PASSING},                                 /* SERVER_OVERLOADED */
        {999, PASSING},                                 /* KEEPER_EXCEPTION */

        {6, OF_VALUE},   /* CANNOT_PARSE_TEXT */
        {25, OF_VALUE},  /* CANNOT_PARSE_ESCAPE_SEQUENCE */
        {26, OF_VALUE},  /* CANNOT_PARSE_QUOTED_STRING */
        {27, OF_VALUE},  /* CANNOT_PARSE_INPUT_ASSERTION_FAILED */
        {32, OF_VALUE},  /* ATTEMPT_TO_READ_AFTER_EOF */
        {36, OF_VALUE},  /* BAD_ARGUMENTS */
        {38, OF_VALUE},  /* CANNOT_PARSE_DATE */
        {41, OF_VALUE},  /* CANNOT_PARSE_DATETIME */
        {43, OF_VALUE},  /* ILLEGAL_TYPE_OF_ARGUMENT */
        {44, OF_VALUE},  /* ILLEGAL_COLUMN */
        {53, OF_VALUE},  /* TYPE_MISMATCH */
        {69, OF_VALUE},  /* ARGUMENT_OUT_OF_BOUND */
        {70, OF_VALUE},  /* CANNOT_CONVERT_TYPE */
        {72, OF_VALUE},  /* CANNOT_PARSE_NUMBER */
        {131, OF_VALUE}, /* TOO_LARGE_STRING_SIZE */
        {349, OF_VALUE}, /* CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN */
        {376, OF_VALUE}, /* CANNOT_PARSE_UUID */
        {386, OF_VALUE}, /* NO_COMMON_TYPE */
        {395, OF_VALUE}, /* FUNCTION_THROW_IF_VALUE_IS_NON_ZERO */
        {407, OF_VALUE}, /* DECIMAL_OVERFLOW */
        {440, OF_VALUE}, /* INVALID_LIMIT_EXPRESSION */
        {441, OF_VALUE}, /* CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING */
        {457, OF_VALUE}, /* BAD_QUERY_PARAMETER */
        {467, OF_VALUE}, /* CANNOT_PARSE_BOOL */
        {675, OF_VALUE}, /* CANNOT_PARSE_IPV4 */
        {676, OF_VALUE}, /* CANNOT_PARSE_IPV6 */

        {60, SILENT},  /* UNKNOWN_TABLE */
        {81, SILENT},  /* UNKNOWN_DATABASE */
        {115, SILENT}, /* UNKNOWN_SETTING */
        {164, SILENT}, /* READONLY */
        {497, SILENT}, /* ACCESS_DENIED */
};

static enum sort sort_of(int number)
{
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (numbers[i].number == number)
			return numbers[i].sort;
	return ORDINARY;
}

bool ch_error_is_of_values(int number)
{
	return sort_of(number) == OF_VALUE;
}

/* A part of the text. */
struct span {
	const char *at;
	size_t len;
};

static const char *find(struct span s, const char *what)
{
	return s.len ? memmem(s.at, s.len, what, strlen(what)) : NULL;
}

static bool skip(struct span *s, const char *what)
{
	size_t n = strlen(what);
	if (s->len < n || memcmp(s->at, what, n) != 0)
		return false;
	*s = (struct span){s->at + n, s->len - n};
	return true;
}

static size_t count_digits(struct span s)
{
	size_t n = 0;
	while (n < s.len && s.at[n] >= '0' && s.at[n] <= '9')
		n++;
	return n;
}

int ch_error_number(const char *text, size_t len)
{
	struct span s = {text, len};
	const char *code = find(s, "Code: ");
	if (!code)
		return 0;
	s = (struct span){code + 6, len - (size_t)(code - text) - 6};
	int64_t v;
	return parse_i64(s.at, count_digits(s), 0, 1000000, &v) ? (int)v : 0;
}

bool ch_error_begins(const char *line, size_t len)
{
	struct span s = {line, len};
	if (skip(&s, "Poco::Exception. Code: ") || skip(&s, "std::exception. Code: ") ||
	        skip(&s, "Unknown exception. Code: "))
		return count_digits(s) > 0;
	size_t digits;
	if (!skip(&s, "Code: ") || (digits = count_digits(s)) == 0)
		return false;
	s = (struct span){s.at + digits, s.len - digits};
	return skip(&s, ", e.displayText() = ") || skip(&s, ", e.code() = ") || skip(&s, ". DB::") ||
	        skip(&s, ". Coordination::");
}

bool ch_error_may_be_value(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (line[i] == '\'' || line[i] == '\0' ||
		        (line[i] != '\t' && line[i] >= '\b' && line[i] <= '\r' && line[i] != '\v'))
			return false;
		i += line[i] == '\\';
	}
	return true;
}

/* What a person wants to read of it. What newer servers say behind "In scope" is the query, with its arguments. */
static struct span core(struct span s)
{
	static const char *const begins[] = {
	        "e.displayText() = ", "DB::Exception: ", "DB::NetException: ", "Coordination::Exception: "};
	static const char *const ends[] = {
	        ", e.what() = ", ", Stack trace", "\nStack trace", " (version ", " In scope "};
	for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
		const char *at = find(s, begins[i]);
		/* The classes are named before the text only; in it they stay. */
		if (at && (i == 0 || (size_t)(at - s.at) < 24))
			s = (struct span){at + strlen(begins[i]), s.len - (size_t)(at - s.at) - strlen(begins[i])};
	}
	for (size_t i = 0; s.len && i < sizeof ends / sizeof *ends; i++) {
		const char *at = find((struct span){s.at + 1, s.len - 1}, ends[i]); /* something is left */
		if (at)
			s.len = (size_t)(at - s.at);
	}
	while (s.len && (s.at[s.len - 1] == ' ' || (s.at[s.len - 1] >= '\t' && s.at[s.len - 1] <= '\r')))
		s.len--;
	return s;
}

static enum err_code code_of(enum sort sort, int number, long status)
{
	if (sort == REFUSED || status == 401 || (status == 403 && number == 0))
		return ERR_UNAVAILABLE;
	/* Without a number it is not ClickHouse that answers but something before it. */
	return sort == PASSING || (number == 0 && (status >= 500 || status == 429)) ? ERR_TRANSIENT : ERR_PERMANENT;
}

/* So much of the text is shown that the number behind it, and what will be put before, finds room in a struct err. */
#define SHOWN_MAX 480

static int shown(struct span s, const char **dots)
{
	size_t n = s.len <= SHOWN_MAX ? s.len : SHOWN_MAX - 3;
	*dots = n < s.len ? "..." : "";
	for (size_t i = 0; n < s.len && i < 3 && ((unsigned char)s.at[n] & 0xC0) == 0x80; i++)
		n--; /* no half character */
	return (int)n;
}

enum err_code ch_error_set(struct err *e, long status, const char *text, size_t len)
{
	int number = ch_error_number(text, len);
	enum sort sort = sort_of(number);
	enum err_code code = code_of(sort, number, status);
	struct span s = core((struct span){text, len});
	const char *dots, *at = s.len ? s.at : "";
	int show = shown(s, &dots);
	if (number)
		err_set(e, code, "%.*s%s (code %d)", show, at, dots, number);
	else if (status >= 300)
		err_set(e, code, "HTTP status %ld%s%.*s%s", status, show ? ": " : "", show, at, dots);
	else
		err_set(e, code, "%.*s%s", show, at, dots);
	if (e)
		e->quotes = sort == ORDINARY || sort == OF_VALUE;
	return code;
}
