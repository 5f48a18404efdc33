/* churn COUNT: forwards that are started and ended again, one after the other; memory and descriptors stay what they were.
 * KUBECONFIG as in session.c. */
#include "check.h"

#include <dirent.h>
#include <unistd.h>

static long resident_kib(void) {
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    }
    fclose(file);
    return kib;
}

static int descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

/* Ended forwards are let go of in the background. */
static int settled(int wanted) {
    for (int i = 0; i < 300 && descriptors() > wanted; i++) usleep(100000);
    return descriptors();
}

static void once(kt_session *session) {
    const char *call = "{\"destination\": \"orders:8080\"}";
    kt_forward *forward = NULL;
    kt_error *error = NULL;
    OK(kt_session_forward(session, call, strlen(call), &forward, &error));
    OK(kt_forward_close(forward, NULL, 0, &error));
    CHECK(kt_forward_free(forward) == KT_OK);
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 10000, warm, before, after;
    long kib;
    double start;
    kt_session *session = NULL;
    kt_events *unheard = NULL;
    kt_error *error = NULL;
    OK(kt_session_start(NULL, 0, &session, &error));
    OK(kt_session_events(session, &unheard, &error));
    warm = count / 5;
    for (int i = 0; i < warm; i++) once(session);
    before = descriptors();
    kib = resident_kib();
    start = now();
    for (int i = warm; i < count; i++) once(session);
    printf("churn: %d forwards, %.1f ms each\n", count, (now() - start) * 1000 / (count - warm));
    after = settled(before);
    printf("churn: %ld KiB and %d descriptors, then %ld KiB and %d\n", kib, before, resident_kib(), after);
    CHECK(after <= before);
    CHECK(resident_kib() - kib < 4096);
    OK(kt_session_close(session, NULL, 0, &error));
    CHECK(kt_session_free(session) == KT_OK && kt_events_free(unheard) == KT_OK);
    return 0;
}
