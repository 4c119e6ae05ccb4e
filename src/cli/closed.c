/*
 * Was standard output closed when the process began (`dflow run q.sql >&-`)?
 *
 * Rust's runtime opens /dev/null in the place of a closed standard stream before `main`, and rows would vanish there
 * without an error. This runs before that, and leaves the answer where `src/cli/stdout.rs` reads it.
 * docs/adr/0016-closed-standard-output.md
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void look(void) {
    if (fcntl(STDOUT_FILENO, F_GETFD) == -1) {
        setenv("DFLOW_STDOUT_CLOSED", "1", 1);
    } else {
        unsetenv("DFLOW_STDOUT_CLOSED");
    }
}
