"""The NPU on FPGA boards: bitstreams, and models on what they make of a board.

family             what a family of FPGAs is              families     each in a file of its own
platforms          pins that nobody else has              clocks       PLLs
design             clock, serial line and NPU             work_folder  where tools work
synthesis          RTLIL into a netlist                   fitting      what would fit an FPGA
gowin_places       what a GW2A runs out of first          netlist      who reads which net
product_registers  registers into ECP5's multipliers      tool         outside tools as processes
place_and_route    a netlist into a bitstream             alone        an NPU to be counted
build              an export into a bitstream             exported_model   what an export says
link               the host's end of the serial line      board_npu    a model on a board
"""

from edgeinfer.hdl.boards.board_npu import BoardNpu
from edgeinfer.hdl.boards.families import BOARDS, board_named
from edgeinfer.hdl.boards.family import Board
from edgeinfer.hdl.boards.link import Link, open_line

__all__ = ["BOARDS", "Board", "BoardNpu", "Link", "board_named", "open_line"]
