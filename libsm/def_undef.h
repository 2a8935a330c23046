/* Ends one pass over a table: every def_*.h gives the words of the table a meaning, and this one
 * takes it away again. */
/* clang-format off */
#undef PART
#undef MSG
#undef U8
#undef U16
#undef U32
#undef U64
#undef I64
#undef ID
#undef SA
#undef STR
#undef ARRAY
#undef SINCE
#undef END
