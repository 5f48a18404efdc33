/* Prints who is there and what they hold, without a look at who lives. KUBECONFIG as in session.c. */
#include "check.h"

int main(void) {
    const char *call = "{\"patience\": 0}";
    kt_text *text = NULL;
    kt_error *error = NULL;
    char *told;
    OK(kt_cluster_status(NULL, 0, call, strlen(call), &text, &error));
    told = own(text);
    puts(told);
    free(told);
    return 0;
}
