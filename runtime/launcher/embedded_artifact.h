/* The artifact behind a program in one file (kiln/executable.h). */
#ifndef KILN_LAUNCHER_EMBEDDED_ARTIFACT_H
#define KILN_LAUNCHER_EMBEDDED_ARTIFACT_H

#include "core/bytes.h"
#include "kiln/kiln.h"

namespace kiln {

/* Finds the artifact in the bytes of a whole executable: checks the trailer, the launcher's
 * checksum, and that the artifact's header is the one the trailer names. What is inside the
 * artifact is left to kiln_model_open_memory. */
kiln_status_t embedded_artifact_find(byte_range_t executable, byte_range_t *artifact,
                                     kiln_error *error);

/* Maps the file of the running program, as a whole: so any page size of the system will do. The
 * mapping stays for as long as the program runs. `path` (which belongs to the system) is where the
 * file was found. */
kiln_status_t executable_map(byte_range_t *executable, const char **path, kiln_error *error);

} // namespace kiln

#endif /* KILN_LAUNCHER_EMBEDDED_ARTIFACT_H */
