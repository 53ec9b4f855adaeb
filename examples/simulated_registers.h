/* Registers behind two functions, in the place of addresses, for a driver on a simulated NPU.
 *
 * Compiled in front of npu.h (cc -include), whose own NPU_READ and NPU_WRITE it replaces.
 */
#ifndef SIMULATED_REGISTERS_H
#define SIMULATED_REGISTERS_H

#include <stdint.h>

typedef struct {
    uint32_t (*read)(uint32_t offset);
    void (*write)(uint32_t offset, uint32_t value);
} simulated_registers;

#define NPU_READ(device, offset) ((simulated_registers *)(device)->registers)->read(offset)
#define NPU_WRITE(device, offset, value) \
    ((simulated_registers *)(device)->registers)->write(offset, value)

#endif
