module idc.example/goprobe

go 1.19

require idc.example/idc v0.0.0

replace idc.example/idc => ../../../go
