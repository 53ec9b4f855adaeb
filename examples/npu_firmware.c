/* A device's program around an NPU: the exported driver loads the model once, then runs it.
 *
 *     edgeinfer hdl export digits.eqm -o digits_npu
 *     cc -c -Idigits_npu/driver npu_firmware.c digits_npu/driver/npu.c
 *
 * The caller says where the NPU's registers are, and the host memory that both sides reach;
 * run_npu_driver.py calls it against a simulated NPU. A real number r of the input is the integer
 * r / npu_inputs[0].scale + npu_inputs[0].zero_point, rounded and clamped.
 */

#include "model.h"
#include "npu.h"

static npu_device npu;

/* Brings the model into host memory and its constants into the NPU; image is model.bin. */
int firmware_start(void *registers, uint8_t *memory, uint64_t address, const uint8_t *image) {
    npu.registers = registers;
    npu.memory = memory;
    npu.memory_address = address;
    return npu_load(&npu, &npu_the_model, image);
}

/* One inference; 0, or an npu_status that says what went wrong. */
int firmware_run(const void *input, void *output) {
    npu_put(&npu, &npu_inputs[0], input);
    const npu_status status = npu_run(&npu, &npu_the_model);
    if (status == NPU_OK) npu_get(&npu, &npu_outputs[0], output);
    return status;
}

uint32_t firmware_cycles(void) { return npu_cycles(&npu); }
