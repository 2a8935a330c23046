# SM_CFLAG(VARIABLE, FLAG): append FLAG to VARIABLE when the compiler takes it without a word.
AC_DEFUN([SM_CFLAG], [
  AS_VAR_PUSHDEF([cv], [sm_cv_cflag_$2])
  AC_CACHE_CHECK([whether $CC takes $2], [cv], [
    sm_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $2"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cv], [yes])], [AS_VAR_SET([cv], [no])])
    CFLAGS=$sm_save_CFLAGS])
  AS_VAR_IF([cv], [yes], [$1="$$1 $2"])
  AS_VAR_POPDEF([cv])
])

# SM_LDFLAG(VARIABLE, FLAG): the same for the linker.
AC_DEFUN([SM_LDFLAG], [
  AS_VAR_PUSHDEF([cv], [sm_cv_ldflag_$2])
  AC_CACHE_CHECK([whether the linker takes $2], [cv], [
    sm_save_LDFLAGS=$LDFLAGS
    LDFLAGS="$LDFLAGS $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cv], [yes])], [AS_VAR_SET([cv], [no])])
    LDFLAGS=$sm_save_LDFLAGS])
  AS_VAR_IF([cv], [yes], [$1="$$1 $2"])
  AS_VAR_POPDEF([cv])
])

# SM_NEED(NAME, HEADER, LIBRARY, FUNCTION, DEBIAN-PACKAGE, WHAT-FOR): a library smx cannot do without; sets NAME_LIBS.
AC_DEFUN([SM_NEED], [
  AC_CHECK_HEADER([$2], [], [AC_MSG_ERROR([lib$3 ($2) is missing: $6. Debian: apt-get install $5])])
  AC_CHECK_LIB([$3], [$4], [AS_TR_SH([$1])_LIBS="-l$3"],
    [AC_MSG_ERROR([lib$3 is missing: $6. Debian: apt-get install $5])])
  AC_SUBST(AS_TR_SH([$1])[_LIBS])
])
