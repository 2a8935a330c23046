/* Directories that tests have made. Tests only. */
#ifndef SM_T_DIR_H
#define SM_T_DIR_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The directory with all that is in it. */
static inline void t_remove_all(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		char path[512];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (unlink(path) != 0)
			t_remove_all(path);
	}
	closedir(d);
	rmdir(dir);
}

#endif
