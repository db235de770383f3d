/* The control characters that COPY's text form and ClickHouse's TabSeparated both write as a backslash and a letter. */
#ifndef DB_DB_ESCAPE_H
#define DB_DB_ESCAPE_H

/* The byte that a backslash and c stand for; -1: c is none of the letters. */
static inline int escape_control(char c)
{
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return -1;
	}
}

#endif
