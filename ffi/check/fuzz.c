/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C interface under a fuzzer: clang -fsanitize=fuzzer, linked with the library built with the
 * address sanitizer. Without -fsanitize=fuzzer, -DREPLAY makes a program that runs files.
 */
#include "ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ops_run(data, size, NULL);
    return 0;
}

#ifdef REPLAY
/* Prints for each file named the hash of what came out and the bytes that were sent, or with --random COUNT that of as many made-up sequences. */
int main(int argc, char **argv) {
    static uint8_t data[1 << 16];
    int i;
    if (argc == 3 && strcmp(argv[1], "--random") == 0) {
        uint64_t seed = 0x9e3779b97f4a7c15u;
        long count = atol(argv[2]);
        for (i = 0; i < count; i++) {
            size_t at;
            for (at = 0; at < 1500; at++) {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                /* Few kinds of input are worth much of the time. */
                data[at] = (uint8_t)(at % 4 == 3 ? seed % 16 : seed >> 32);
            }
            printf("%016llx\n", (unsigned long long)ops_run(data, at, NULL));
        }
        return 0;
    }
    for (i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t size;
        uint64_t hash, delivered;
        MUST(file != NULL);
        size = fread(data, 1, sizeof data, file);
        fclose(file);
        hash = ops_run(data, size, &delivered);
        printf("%016llx %llu %s\n", (unsigned long long)hash, (unsigned long long)delivered, argv[i]);
    }
    return 0;
}
#endif
