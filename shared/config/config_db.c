#include "shared/config/config_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/config/ch_url.h"
#include "shared/config/config_shape.h"
#include "shared/config/config_table.h"
#include "shared/config/config_value.h"
#include "shared/config/mysql_dsn.h"

enum { PATH_SIZE = 160 };

/* Puts the place of one of the database's keys before the text of e. */
static enum err_code place(const struct config_db_place *at, const char *key, struct err *e)
{
	char path[PATH_SIZE];
	const struct yaml_tree *node = at->map->kind == TREE_MAP ? yaml_tree_get(at->map, key) : NULL;
	snprintf(path, sizeof path, "%s.%s.%s", at->section, at->name, key);
	return config_shape_place(at->file, node ? node : at->map, path, e);
}

/* --- passwords --- */

/* Up to size bytes of the file; -1: errno says why not. */
static ssize_t read_file(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got = fd < 0 ? -1 : 1;
	while (got > 0 && n < size) {
		got = read(fd, out + n, size - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	int errnum = errno;
	if (fd >= 0)
		close(fd);
	errno = errnum;
	return got < 0 ? -1 : (ssize_t)n;
}

static enum err_code take_password(const char *path, char *text, ssize_t got, char **out, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE], why[64];
	config_text_shown(path, shown);
	if (got < 0)
		return err_set(e, ERR_INVALID, "expected the path of a file that can be read, got %s: %s", shown,
		        err_errno(errno, why, sizeof why));
	size_t n = (size_t)got;
	if (n > 0 && text[n - 1] == '\n')
		n--;
	if (n == 0 || n > CONFIG_PASSWORD_MAX || memchr(text, '\0', n))
		return err_set(e, ERR_INVALID,
		        "expected a file with a password of 1 to %d bytes, none of them NUL, got %s, which holds %s",
		        CONFIG_PASSWORD_MAX, shown,
		        n == 0                            ? "nothing"
		                : n > CONFIG_PASSWORD_MAX ? "more"
		                                          : "something else");
	char *copy = strndup(text, n);
	if (!copy)
		return err_nomem(e);
	free(*out);
	*out = copy;
	return ERR_OK;
}

static enum err_code read_password(const char *path, char **out, struct err *e)
{
	char text[CONFIG_PASSWORD_MAX + 2]; /* a newline, and one more byte than may be */
	enum err_code rc = take_password(path, text, read_file(path, text, sizeof text), out, e);
	explicit_bzero(text, sizeof text);
	return rc;
}

static enum err_code check_password(
        const struct config_db_place *at, bool connects, const char *path, char **password, struct err *e)
{
	if (!path[0])
		return ERR_OK;
	enum err_code rc = ERR_OK;
	if ((*password)[0])
		rc = err_set(e, ERR_INVALID, "expected either a password or a password_file, got both");
	else if (connects)
		rc = read_password(path, password, e);
	return rc == ERR_OK ? ERR_OK : place(at, "password_file", e);
}

/* --- addresses --- */

/* All but libpq's own syntax, which libpq reads when it connects; it is not linked to every program. */
static enum err_code check_pg_dsn(const char *dsn, struct err *e)
{
	if (strncmp(dsn, "postgresql://", 13) == 0 || strncmp(dsn, "postgres://", 11) == 0 || strchr(dsn, '='))
		return ERR_OK;
	return err_set(e, ERR_INVALID,
	        "expected postgresql://user:password@host:port/database or keyword=value pairs, got neither");
}

static enum err_code check_mysql_dsn(const char *dsn, bool writes, struct err *e)
{
	struct mysql_dsn parsed;
	enum err_code rc = mysql_dsn_parse(dsn, &parsed, e);
	if (rc == ERR_OK && writes && !parsed.database[0])
		rc = err_set(e, ERR_INVALID, "expected a dsn with the database that results are written to, got none");
	mysql_dsn_fini(&parsed);
	return rc;
}

static enum err_code check_dsn(
        const struct config_db_place *at, enum db_engine engine, const char *dsn, bool writes, struct err *e)
{
	enum err_code rc = ERR_OK;
	struct ch_url url;
	switch (engine) {
	case DB_POSTGRES:
		rc = check_pg_dsn(dsn, e);
		break;
	case DB_MYSQL:
		rc = check_mysql_dsn(dsn, writes, e);
		break;
	case DB_CLICKHOUSE:
		rc = ch_url_parse(dsn, &url, e);
		ch_url_fini(&url);
		break;
	}
	return rc == ERR_OK ? ERR_OK : place(at, "dsn", e);
}

/* --- storage engines --- */

static enum err_code check_storage_engine(const struct config_db_place *at, struct cfg_results *db, struct err *e)
{
	if (db->engine != DB_MYSQL && db->storage_engine[0]) {
		err_set(e, ERR_INVALID, "expected nothing, since only mysql has storage engines, got a value for %s",
		        db_engine_name(db->engine));
		return place(at, "storage_engine", e);
	}
	if (db->engine != DB_MYSQL || db->storage_engine[0])
		return ERR_OK;
	char *standard = strdup("InnoDB");
	if (!standard)
		return err_nomem(e);
	free(db->storage_engine);
	db->storage_engine = standard;
	return ERR_OK;
}

enum err_code config_db_source(const struct config_db_place *at, bool connects, struct cfg_source *db, struct err *e)
{
	enum err_code rc = check_dsn(at, db->engine, db->dsn, false, e);
	return rc == ERR_OK ? check_password(at, connects, db->password_file, &db->password, e) : rc;
}

enum err_code config_db_results(const struct config_db_place *at, bool connects, struct cfg_results *db, struct err *e)
{
	enum err_code rc = check_dsn(at, db->engine, db->dsn, true, e);
	if (rc == ERR_OK)
		rc = check_password(at, connects, db->password_file, &db->password, e);
	return rc == ERR_OK ? check_storage_engine(at, db, e) : rc;
}
