module idc.example/idc

go 1.19
