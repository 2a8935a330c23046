/*
 * createmap: makes databases from the source text of maps, and text from databases. One thread.
 *
 * Exit status: 0; 64 wrong use; 65 something is wrong with the source, or an entry cannot be
 * written as text; 66 the source, or the map to be dumped, cannot be read; 73 the map cannot be
 * made; 77 not permitted.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/mapsrc.h"
#include "misc/createmap.h"

enum { OK = 0, USAGE = 64, DATAERR = 65, NOINPUT = 66, CANTCREAT = 73, NOPERM = 77 };

const struct cm_format *const cm_formats[] = {&cm_hash, &cm_btree, &cm_lmdb, &cm_cdb, NULL};

static const char usage_text[] =
    "usage: createmap [-efnorv] [-k kind] [-t type] target [source]\n"
    "       createmap [-efnorv] [-k kind] type target [< source]   as makemap has it\n"
    "       createmap -d|-u [-t type] target\n"
    "  -d, -u   print the map as source text\n"
    "  -e       a key may stand without value\n"
    "  -f       do not fold keys to lower case\n"
    "  -k kind  check values: access, aliases, mailertable, plain (default)\n"
    "  -l       list the types\n"
    "  -n       only check the source\n"
    "  -o       add to the map that is there\n"
    "  -r       a key that comes again replaces the former value; otherwise it is an error\n"
    "  -t type  hash, btree, lmdb, cdb; default: by the name of the target, else hash\n"
    "  -v       say how many entries there are\n";

static int usage(void)
{
	(void)fputs(usage_text, stderr);
	return USAGE;
}

static int fail(int rc, int otherwise)
{
	(void)fprintf(stderr, "createmap: %s\n", sm_diag());
	return rc == SM_E_DENIED ? NOPERM : otherwise;
}

/* ---- formats ---- */

const struct cm_format *cm_format_named(const char *name)
{
	for (size_t i = 0; cm_formats[i] != NULL; i++)
		if (strcmp(cm_formats[i]->name, name) == 0)
			return cm_formats[i];
	return NULL;
}

static bool has_suffix(const struct cm_format *f, const char *path)
{
	for (size_t i = 0; f->suffixes[i] != NULL; i++)
		if (sm_str_has_casesuffix(sm_str(path), sm_str(f->suffixes[i])))
			return true;
	return false;
}

const struct cm_format *cm_format_of_path(const char *path)
{
	for (size_t i = 0; cm_formats[i] != NULL; i++)
		if (has_suffix(cm_formats[i], path))
			return cm_formats[i];
	return NULL;
}

int cm_format_of_file(const char *path, const struct cm_format **out, uint64_t *size)
{
	char head[CM_HEAD_BYTES];
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n = 0;

	*out = NULL;
	if (fd < 0)
		return sm_fail_sys(errno, "open");
	if (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && (n = read(fd, head, sizeof(head))) < 0))
		rc = sm_fail_sys(errno, "read");
	else if (!S_ISREG(st.st_mode))
		rc = sm_fail(SM_E_NOTSUP, "no regular file");
	close(fd);
	if (rc != 0)
		return rc;
	*size = (uint64_t)st.st_size;
	for (size_t i = 0; cm_formats[i] != NULL && *out == NULL; i++)
		if (cm_formats[i]->is_it(sm_str_n(head, (size_t)n), *size))
			*out = cm_formats[i];
	return 0;
}

/* ---- dump ---- */

struct dump {
	const char *path;
	struct sm_buf line;
	uint64_t count, lost;
};

static int print_entry(void *arg, struct sm_str key, struct sm_str value)
{
	struct dump *d = arg;

	sm_buf_reset(&d->line);
	if (sm_mapsrc_write(&d->line, key, value) != 0) {
		(void)fprintf(stderr, "createmap: %s: cannot be written as text: %s\n", d->path,
		              sm_diag());
		d->lost++;
		return 0;
	}
	d->count++;
	if (fwrite(sm_buf_p(&d->line), 1, d->line.len, stdout) != d->line.len)
		return sm_fail_sys(errno, "standard output");
	return 0;
}

static int dump(const char *path, const struct cm_format *format, bool verbose)
{
	struct dump d = {.path = path};
	const struct cm_format *is = NULL;
	uint64_t size = 0;
	int rc = cm_format_of_file(path, &is, &size);

	if (rc == 0 && is == NULL)
		rc = sm_fail(SM_E_NOTSUP, "is no map");
	if (rc == 0 && format != NULL && is != format)
		rc = sm_fail(SM_E_NOTSUP, "is of type %s", is->name);
	if (rc != 0) {
		(void)sm_fail_in(rc, "%s", path);
		return fail(rc, NOINPUT);
	}
	sm_buf_init(&d.line, (size_t)1 << 20);
	rc = is->walk(path, print_entry, &d);
	sm_buf_fini(&d.line);
	if (rc == 0 && fflush(stdout) != 0)
		rc = sm_fail_sys(errno, "standard output");
	if (rc != 0) {
		(void)sm_fail_in(rc, "%s", path);
		return fail(rc, NOINPUT);
	}
	if (verbose)
		(void)fprintf(stderr, "createmap: %s: %" PRIu64 " entries\n", path, d.count);
	return d.lost > 0 ? DATAERR : OK;
}

/* ---- build ---- */

static int build(struct cm_job *job, bool verbose)
{
	int rc = cm_build(job);

	if (rc == SM_E_SYNTAX && job->wrong > 0)
		return DATAERR;
	if (rc != 0)
		return fail(rc, job->unreadable ? NOINPUT : CANTCREAT);
	if (verbose && job->append)
		(void)fprintf(stderr,
		              "createmap: %s: %" PRIu64 " entries read, %" PRIu64 " were there\n",
		              job->target, job->read, job->kept);
	else if (verbose)
		(void)fprintf(stderr, "createmap: %s: %" PRIu64 " entries\n", job->target,
		              job->read);
	return OK;
}

/* "hash access" means access.db, as makemap has it; never the text that is beside it. */
static const char *makemap_target(const struct cm_format *f, const char *target, char *out,
                                  size_t size)
{
	if (has_suffix(f, target))
		return target;
	return snprintf(out, size, "%s%s", target, f->suffixes[0]) < (int)size ? out : NULL;
}

static int list_types(void)
{
	for (size_t i = 0; cm_formats[i] != NULL; i++)
		(void)puts(cm_formats[i]->name);
	return fflush(stdout) == 0 ? OK : CANTCREAT;
}

int main(int argc, char **argv)
{
	struct cm_job job = {.check = cm_check_named("plain")};
	const char *stated = NULL;
	bool dumping = false, verbose = false;
	char with_suffix[4096];
	int opt, words;

	while ((opt = getopt(argc, argv, "defhk:lnort:uv")) != -1) {
		switch (opt) {
		case 'd':
		case 'u':
			dumping = true;
			break;
		case 'e':
			job.empty_ok = true;
			break;
		case 'f':
			job.keep_case = true;
			break;
		case 'h':
			(void)fputs(usage_text, stdout);
			return OK;
		case 'k':
			if ((job.check = cm_check_named(optarg)) == NULL)
				return usage();
			break;
		case 'l':
			return list_types();
		case 'n':
			job.dry = true;
			break;
		case 'o':
			job.append = true;
			break;
		case 'r':
			job.replace = true;
			break;
		case 't':
			stated = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return usage();
		}
	}
	if (stated != NULL && (job.format = cm_format_named(stated)) == NULL)
		return usage();
	words = argc - optind;
	if (words < 1 || words > 2)
		return usage();
	job.target = argv[optind];
	if (words == 2 && stated == NULL && (job.format = cm_format_named(argv[optind])) != NULL) {
		job.target =
		    makemap_target(job.format, argv[optind + 1], with_suffix, sizeof(with_suffix));
		if (job.target == NULL)
			return usage();
		words = 1;
	}
	if (dumping)
		return words == 1 ? dump(job.target, job.format, verbose) : usage();
	if (words == 2 && strcmp(argv[optind + 1], "-") != 0)
		job.source = argv[optind + 1];
	if (job.format == NULL)
		job.format = cm_format_of_path(job.target);
	if (job.format == NULL)
		job.format = &cm_hash;
	return build(&job, verbose);
}
