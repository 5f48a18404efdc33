/* call BUILD [FILE [TARGET]]: the figure c.call, what a question to a handle costs; also as JSON in FILE, with the keys of
 * tests/src/bin/bench. Fails when a release build misses the target, which is in microseconds. KUBECONFIG as in session.c. */
#include "check.h"

enum { RUNS = 7, CALLS = 20000 };

static int by_size(const void *one, const void *other) {
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    double runs[RUNS], median;
    const int target = argc > 3 ? atoi(argv[3]) : 20;
    int reached;
    const char *build = argc > 1 ? argv[1] : "unknown";
    kt_session *session = NULL;
    kt_error *error = NULL;
    OK(kt_session_start(NULL, 0, &session, &error));
    for (int run = 0; run < RUNS; run++) {
        const double start = now();
        for (int call = 0; call < CALLS; call++) {
            kt_text *state = NULL;
            OK(kt_session_state(session, &state, &error));
            CHECK(kt_text_free(state) == KT_OK);
        }
        runs[run] = (now() - start) * 1e6 / CALLS;
    }
    OK(kt_session_close(session, NULL, 0, &error));
    CHECK(kt_session_free(session) == KT_OK);
    qsort(runs, RUNS, sizeof *runs, by_size);
    median = runs[RUNS / 2];
    reached = median <= target;
    if (strcmp(build, "release") != 0) printf("A %s build of the library: this is not its figure.\n", build);
    printf("c.call               %.2f us      %.2f..%.2f       <= %d %s\n", median, runs[0], runs[RUNS - 1], target,
           reached ? "reached" : "MISSED");
    if (argc > 2) {
        FILE *file = fopen(argv[2], "w");
        CHECK(file != NULL);
        fprintf(file,
                "[{\"id\": \"c.call\", \"value\": %.3f, \"unit\": \"us\", \"ratio\": %.3f, \"of\": \"target\", \"least\": %.3f, "
                "\"most\": %.3f, \"beside\": null, \"aim\": \"at most\", \"target\": %d, \"reached\": %s, \"build\": \"%s\"}]\n",
                median, median / target, runs[0], runs[RUNS - 1], target, reached ? "true" : "false", build);
        CHECK(fclose(file) == 0);
    }
    return strcmp(build, "release") == 0 && !reached;
}
