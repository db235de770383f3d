/* An exchange of the FastCGI process without libfcgi and Redis, for the targets of requests and replies. One thread. */
#ifndef DB_TESTS_FUZZ_EXCHANGE_H
#define DB_TESTS_FUZZ_EXCHANGE_H

#include "fcgi/exchange.h"

/* Ready for a request; the same one each time. */
struct exchange *fuzz_exchange(void);
void fuzz_exchange_end(struct exchange *x);
/* Its answer, or its commands, are in order. */
void fuzz_check_exchange(struct exchange *x, enum step step);
/* A command is made of whole arguments, as many as it says. */
void fuzz_check_command(const struct cmd *c);

#endif
