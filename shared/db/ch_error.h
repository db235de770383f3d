/* What a ClickHouse server says when something went wrong, in the forms of its versions:
 *
 *   Code: 60, e.displayText() = DB::Exception: Table default.t doesn't exist., e.what() = DB::Exception        (to 21)
 *   Code: 60. DB::Exception: Table default.t does not exist. (UNKNOWN_TABLE) (version 26.9.2.1)
 *   Poco::Exception. Code: 1000, e.code() = 111, e.displayText() = Connection refused, e.what() = ...
 *
 * Older servers write it behind the rows when it comes late, and then end the answer as if all were well: such a line
 * must be told from a value. Pure; any thread.
 */
#ifndef DB_DB_CH_ERROR_H
#define DB_DB_CH_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"

#define CH_TIMEOUT_EXCEEDED 159

/* The number in it, 0: there is none. */
int ch_error_number(const char *text, size_t len);

/* Sets e to what text says, in a line, without the names of classes and versions. status: the HTTP status; 0 or 200: the
 * text came behind rows. The code: refused logins → ERR_UNAVAILABLE; time limit, lack of memory or of a free place, a
 * network that failed → ERR_TRANSIENT; the rest → ERR_PERMANENT. quotes is set where the text may repeat the query. */
enum err_code ch_error_set(struct err *e, long status, const char *text, size_t len);

/* Is it about the values that stood for the arguments (a text that is no number), not about the statement? */
bool ch_error_is_of_values(int number);

/* Does a line begin as these texts do? */
bool ch_error_begins(const char *line, size_t len);
/* And could it, all the same, be what TabSeparated makes of a value: is what it escapes escaped there? */
bool ch_error_may_be_value(const char *line, size_t len);

#endif
