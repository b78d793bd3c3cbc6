/* test_chain_bf16.c: what long windows do to weight gradients in bf16: a chain is spilled
 * at the end of the block in which it reaches ACR_CHAIN_ROWS rows of the window. Needs a
 * build with short chains, as test_chain.c does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bf16_gradient.h"

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
