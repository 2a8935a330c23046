/*
 * Runs a fuzz target over every file of the directories given, when libFuzzer is not there: what
 * once was found stays found.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "libsm/base.h"

enum { FILE_MAX_BYTES = 4 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void run(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p;
	size_t n;

	if (f == NULL) {
		perror(path);
		exit(1);
	}
	/* Exactly as large as the input, so that a read behind it is seen. */
	p = sm_malloc(FILE_MAX_BYTES);
	n = fread(p, 1, FILE_MAX_BYTES, f);
	fclose(f);
	p = sm_realloc(p, n ? n : 1, 1);
	LLVMFuzzerTestOneInput(p, n);
	sm_free(p);
}

int main(int argc, char **argv)
{
	unsigned files = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *e;

		if (d == NULL) {
			perror(argv[i]);
			return 1;
		}
		while ((e = readdir(d)) != NULL) {
			char path[4096];

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			run(path);
			files++;
		}
		closedir(d);
	}
	printf("%u inputs\n", files);
	return files ? 0 : 1;
}
