# Generated from protos/inference/grpc_service.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of inference/grpc_service.proto, in the private pool."""

# What this file imports has to be in the pool first.
from steelyard.wire.generated import model_config
from steelyard.wire.pool import add_file, message

SOURCE_SHA256 = "3e7263c84ab832e332042e0e01757598e33ea9abc405d92e4001e78a012bd36a"
SERIALIZED = (
    b'\n\x1cinference/grpc_service.proto\x12\tinference\x1a\x1cinference/model_confi'
    b'g.proto"\x13\n\x11ServerLiveRequest"(\n\x12ServerLiveResponse\x12\x12\n\x04live\x18\x01 \x01(\x08'
    b'R\x04live"\x14\n\x12ServerReadyRequest"+\n\x13ServerReadyResponse\x12\x14\n\x05ready\x18\x01 \x01'
    b'(\x08R\x05ready"A\n\x11ModelReadyRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 '
    b'\x01(\tR\x07version"*\n\x12ModelReadyResponse\x12\x14\n\x05ready\x18\x01 \x01(\x08R\x05ready"\x17\n\x15Serv'
    b'erMetadataRequest"f\n\x16ServerMetadataResponse\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12'
    b'\x18\n\x07version\x18\x02 \x01(\tR\x07version\x12\x1e\n\nextensions\x18\x03 \x03(\tR\nextensions"D\n\x14Mod'
    b'elMetadataRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version"'
    b'\xe0\x03\n\x15ModelMetadataResponse\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08versions\x18\x02 \x03(\tR'
    b'\x08versions\x12\x1a\n\x08platform\x18\x03 \x01(\tR\x08platform\x12G\n\x06inputs\x18\x04 \x03(\x0b2/.inferenc'
    b'e.ModelMetadataResponse.TensorMetadataR\x06inputs\x12I\n\x07outputs\x18\x05 \x03(\x0b2'
    b'/.inference.ModelMetadataResponse.TensorMetadataR\x07outputs\x12P\n\npro'
    b'perties\x18\x06 \x03(\x0b20.inference.ModelMetadataResponse.PropertiesEntryR'
    b'\nproperties\x1aV\n\x0eTensorMetadata\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08datatype\x18\x02 '
    b'\x01(\tR\x08datatype\x12\x14\n\x05shape\x18\x03 \x03(\x03R\x05shape\x1a=\n\x0fPropertiesEntry\x12\x10\n\x03key\x18\x01 '
    b'\x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value:\x028\x01"\xd7\x01\n\x0eInferParameter\x12\x1f\n\nbool_pa'
    b'ram\x18\x01 \x01(\x08H\x00R\tboolParam\x12!\n\x0bint64_param\x18\x02 \x01(\x03H\x00R\nint64Param\x12#\n\x0cstr'
    b'ing_param\x18\x03 \x01(\tH\x00R\x0bstringParam\x12#\n\x0cdouble_param\x18\x04 \x01(\x01H\x00R\x0bdoublePa'
    b'ram\x12#\n\x0cuint64_param\x18\x05 \x01(\x04H\x00R\x0buint64ParamB\x12\n\x10parameter_choice"\xc3\x02\n'
    b'\x13InferTensorContents\x12#\n\rbool_contents\x18\x01 \x03(\x08R\x0cboolContents\x12!\n\x0cint'
    b'_contents\x18\x02 \x03(\x05R\x0bintContents\x12%\n\x0eint64_contents\x18\x03 \x03(\x03R\rint64Conte'
    b"nts\x12#\n\ruint_contents\x18\x04 \x03(\rR\x0cuintContents\x12'\n\x0fuint64_contents\x18\x05 \x03("
    b'\x04R\x0euint64Contents\x12#\n\rfp32_contents\x18\x06 \x03(\x02R\x0cfp32Contents\x12#\n\rfp64_c'
    b'ontents\x18\x07 \x03(\x01R\x0cfp64Contents\x12%\n\x0ebytes_contents\x18\x08 \x03(\x0cR\rbytesConten'
    b'ts"\x9d\x08\n\x11ModelInferRequest\x12\x1d\n\nmodel_name\x18\x01 \x01(\tR\tmodelName\x12#\n\rmodel'
    b'_version\x18\x02 \x01(\tR\x0cmodelVersion\x12\x0e\n\x02id\x18\x03 \x01(\tR\x02id\x12L\n\nparameters\x18\x04 \x03(\x0b'
    b'2,.inference.ModelInferRequest.ParametersEntryR\nparameters\x12E\n\x06in'
    b'puts\x18\x05 \x03(\x0b2-.inference.ModelInferRequest.InferInputTensorR\x06input'
    b's\x12Q\n\x07outputs\x18\x06 \x03(\x0b27.inference.ModelInferRequest.InferRequestedO'
    b'utputTensorR\x07outputs\x12,\n\x12raw_input_contents\x18\x07 \x03(\x0cR\x10rawInputConten'
    b'ts\x1a\xcd\x02\n\x10InferInputTensor\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08datatype\x18\x02 \x01(\tR\x08d'
    b'atatype\x12\x14\n\x05shape\x18\x03 \x03(\x03R\x05shape\x12]\n\nparameters\x18\x04 \x03(\x0b2=.inference.Mo'
    b'delInferRequest.InferInputTensor.ParametersEntryR\nparameters\x12:\n\x08'
    b'contents\x18\x05 \x01(\x0b2\x1e.inference.InferTensorContentsR\x08contents\x1aX\n\x0fPara'
    b'metersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19.inference.InferPa'
    b'rameterR\x05value:\x028\x01\x1a\xf3\x01\n\x1aInferRequestedOutputTensor\x12\x12\n\x04name\x18\x01 \x01(\tR'
    b'\x04name\x12g\n\nparameters\x18\x02 \x03(\x0b2G.inference.ModelInferRequest.InferReq'
    b'uestedOutputTensor.ParametersEntryR\nparameters\x1aX\n\x0fParametersEntr'
    b'y\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19.inference.InferParameterR\x05v'
    b'alue:\x028\x01\x1aX\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19.i'
    b'nference.InferParameterR\x05value:\x028\x01"\xdf\x05\n\x12ModelInferResponse\x12\x1d\n\nmod'
    b'el_name\x18\x01 \x01(\tR\tmodelName\x12#\n\rmodel_version\x18\x02 \x01(\tR\x0cmodelVersion\x12\x0e\n'
    b'\x02id\x18\x03 \x01(\tR\x02id\x12M\n\nparameters\x18\x04 \x03(\x0b2-.inference.ModelInferResponse'
    b'.ParametersEntryR\nparameters\x12I\n\x07outputs\x18\x05 \x03(\x0b2/.inference.ModelI'
    b'nferResponse.InferOutputTensorR\x07outputs\x12.\n\x13raw_output_contents\x18\x06'
    b' \x03(\x0cR\x11rawOutputContents\x1a\xd0\x02\n\x11InferOutputTensor\x12\x12\n\x04name\x18\x01 \x01(\tR\x04nam'
    b'e\x12\x1a\n\x08datatype\x18\x02 \x01(\tR\x08datatype\x12\x14\n\x05shape\x18\x03 \x03(\x03R\x05shape\x12_\n\nparameter'
    b's\x18\x04 \x03(\x0b2?.inference.ModelInferResponse.InferOutputTensor.Paramet'
    b'ersEntryR\nparameters\x12:\n\x08contents\x18\x05 \x01(\x0b2\x1e.inference.InferTensorCo'
    b'ntentsR\x08contents\x1aX\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02'
    b' \x01(\x0b2\x19.inference.InferParameterR\x05value:\x028\x01\x1aX\n\x0fParametersEntry\x12\x10\n'
    b'\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19.inference.InferParameterR\x05value'
    b':\x028\x01"\x85\x01\n\x18ModelStreamInferResponse\x12#\n\rerror_message\x18\x01 \x01(\tR\x0cerrorM'
    b'essage\x12D\n\x0einfer_response\x18\x02 \x01(\x0b2\x1d.inference.ModelInferResponseR\ri'
    b'nferResponse"B\n\x12ModelConfigRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07versio'
    b'n\x18\x02 \x01(\tR\x07version"E\n\x13ModelConfigResponse\x12.\n\x06config\x18\x01 \x01(\x0b2\x16.infere'
    b'nce.ModelConfigR\x06config"F\n\x16ModelStatisticsRequest\x12\x12\n\x04name\x18\x01 \x01(\tR'
    b'\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version"9\n\x11StatisticDuration\x12\x14\n\x05count\x18\x01 '
    b'\x01(\x04R\x05count\x12\x0e\n\x02ns\x18\x02 \x01(\x04R\x02ns"\xf2\x03\n\x0fInferStatistics\x126\n\x07success\x18\x01 \x01(\x0b2'
    b'\x1c.inference.StatisticDurationR\x07success\x120\n\x04fail\x18\x02 \x01(\x0b2\x1c.inference'
    b'.StatisticDurationR\x04fail\x122\n\x05queue\x18\x03 \x01(\x0b2\x1c.inference.StatisticDur'
    b'ationR\x05queue\x12A\n\rcompute_input\x18\x04 \x01(\x0b2\x1c.inference.StatisticDuratio'
    b'nR\x0ccomputeInput\x12A\n\rcompute_infer\x18\x05 \x01(\x0b2\x1c.inference.StatisticDura'
    b'tionR\x0ccomputeInfer\x12C\n\x0ecompute_output\x18\x06 \x01(\x0b2\x1c.inference.Statistic'
    b'DurationR\rcomputeOutput\x129\n\tcache_hit\x18\x07 \x01(\x0b2\x1c.inference.Statistic'
    b'DurationR\x08cacheHit\x12;\n\ncache_miss\x18\x08 \x01(\x0b2\x1c.inference.StatisticDura'
    b'tionR\tcacheMiss"\x86\x03\n\x17InferResponseStatistics\x12A\n\rcompute_infer\x18\x01 \x01'
    b'(\x0b2\x1c.inference.StatisticDurationR\x0ccomputeInfer\x12C\n\x0ecompute_output'
    b'\x18\x02 \x01(\x0b2\x1c.inference.StatisticDurationR\rcomputeOutput\x126\n\x07success\x18\x03'
    b' \x01(\x0b2\x1c.inference.StatisticDurationR\x07success\x120\n\x04fail\x18\x04 \x01(\x0b2\x1c.infe'
    b'rence.StatisticDurationR\x04fail\x12C\n\x0eempty_response\x18\x05 \x01(\x0b2\x1c.inferenc'
    b'e.StatisticDurationR\remptyResponse\x124\n\x06cancel\x18\x06 \x01(\x0b2\x1c.inference.S'
    b'tatisticDurationR\x06cancel"\x80\x02\n\x14InferBatchStatistics\x12\x1d\n\nbatch_size\x18'
    b'\x01 \x01(\x04R\tbatchSize\x12A\n\rcompute_input\x18\x02 \x01(\x0b2\x1c.inference.StatisticDur'
    b'ationR\x0ccomputeInput\x12A\n\rcompute_infer\x18\x03 \x01(\x0b2\x1c.inference.Statistic'
    b'DurationR\x0ccomputeInfer\x12C\n\x0ecompute_output\x18\x04 \x01(\x0b2\x1c.inference.Stati'
    b'sticDurationR\rcomputeOutput"N\n\x0bMemoryUsage\x12\x12\n\x04type\x18\x01 \x01(\tR\x04type\x12\x0e'
    b'\n\x02id\x18\x02 \x01(\x03R\x02id\x12\x1b\n\tbyte_size\x18\x03 \x01(\x04R\x08byteSize"\xb6\x04\n\x0fModelStatistics\x12'
    b'\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version\x12%\n\x0elast_inference\x18'
    b"\x03 \x01(\x04R\rlastInference\x12'\n\x0finference_count\x18\x04 \x01(\x04R\x0einferenceCount\x12'\n"
    b'\x0fexecution_count\x18\x05 \x01(\x04R\x0eexecutionCount\x12C\n\x0finference_stats\x18\x06 \x01(\x0b2'
    b'\x1a.inference.InferStatisticsR\x0einferenceStats\x12@\n\x0bbatch_stats\x18\x07 \x03(\x0b'
    b'2\x1f.inference.InferBatchStatisticsR\nbatchStats\x129\n\x0cmemory_usage\x18\x08 '
    b'\x03(\x0b2\x16.inference.MemoryUsageR\x0bmemoryUsage\x12T\n\x0eresponse_stats\x18\t \x03(\x0b'
    b'2-.inference.ModelStatistics.ResponseStatsEntryR\rresponseStats\x1ad'
    b'\n\x12ResponseStatsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x128\n\x05value\x18\x02 \x01(\x0b2".inferenc'
    b'e.InferResponseStatisticsR\x05value:\x028\x01"V\n\x17ModelStatisticsResponse\x12'
    b';\n\x0bmodel_stats\x18\x01 \x03(\x0b2\x1a.inference.ModelStatisticsR\nmodelStats"\xba\x01\n'
    b'\x18ModelRepositoryParameter\x12\x1f\n\nbool_param\x18\x01 \x01(\x08H\x00R\tboolParam\x12!\n\x0bin'
    b't64_param\x18\x02 \x01(\x03H\x00R\nint64Param\x12#\n\x0cstring_param\x18\x03 \x01(\tH\x00R\x0bstringPar'
    b'am\x12!\n\x0bbytes_param\x18\x04 \x01(\x0cH\x00R\nbytesParamB\x12\n\x10parameter_choice"W\n\x16Rep'
    b"ositoryIndexRequest\x12'\n\x0frepository_name\x18\x01 \x01(\tR\x0erepositoryName\x12\x14\n\x05"
    b'ready\x18\x02 \x01(\x08R\x05ready"\xca\x01\n\x17RepositoryIndexResponse\x12E\n\x06models\x18\x01 \x03(\x0b2-'
    b'.inference.RepositoryIndexResponse.ModelIndexR\x06models\x1ah\n\nModelIn'
    b'dex\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version\x12\x14\n\x05state\x18\x03 \x01(\t'
    b'R\x05state\x12\x16\n\x06reason\x18\x04 \x01(\tR\x06reason"\x9f\x02\n\x1aRepositoryModelLoadRequest\x12\''
    b'\n\x0frepository_name\x18\x01 \x01(\tR\x0erepositoryName\x12\x1d\n\nmodel_name\x18\x02 \x01(\tR\tmod'
    b'elName\x12U\n\nparameters\x18\x03 \x03(\x0b25.inference.RepositoryModelLoadReques'
    b't.ParametersEntryR\nparameters\x1ab\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03k'
    b'ey\x129\n\x05value\x18\x02 \x01(\x0b2#.inference.ModelRepositoryParameterR\x05value:\x028'
    b'\x01"\x1d\n\x1bRepositoryModelLoadResponse"\xa3\x02\n\x1cRepositoryModelUnloadReques'
    b"t\x12'\n\x0frepository_name\x18\x01 \x01(\tR\x0erepositoryName\x12\x1d\n\nmodel_name\x18\x02 \x01(\tR\t"
    b'modelName\x12W\n\nparameters\x18\x03 \x03(\x0b27.inference.RepositoryModelUnloadR'
    b'equest.ParametersEntryR\nparameters\x1ab\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01'
    b'(\tR\x03key\x129\n\x05value\x18\x02 \x01(\x0b2#.inference.ModelRepositoryParameterR\x05val'
    b'ue:\x028\x01"\x1f\n\x1dRepositoryModelUnloadResponse"5\n\x1fSystemSharedMemorySta'
    b'tusRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"\xd7\x02\n SystemSharedMemoryStatusRespo'
    b'nse\x12R\n\x07regions\x18\x01 \x03(\x0b28.inference.SystemSharedMemoryStatusRespons'
    b'e.RegionsEntryR\x07regions\x1ai\n\x0cRegionStatus\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x10\n\x03k'
    b'ey\x18\x02 \x01(\tR\x03key\x12\x16\n\x06offset\x18\x03 \x01(\x04R\x06offset\x12\x1b\n\tbyte_size\x18\x04 \x01(\x04R\x08byteSi'
    b'ze\x1at\n\x0cRegionsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12N\n\x05value\x18\x02 \x01(\x0b28.inference.'
    b'SystemSharedMemoryStatusResponse.RegionStatusR\x05value:\x028\x01"~\n!Syst'
    b'emSharedMemoryRegisterRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x10\n\x03key\x18\x02 \x01(\tR\x03'
    b'key\x12\x16\n\x06offset\x18\x03 \x01(\x04R\x06offset\x12\x1b\n\tbyte_size\x18\x04 \x01(\x04R\x08byteSize"$\n"Syst'
    b'emSharedMemoryRegisterResponse"9\n#SystemSharedMemoryUnregisterRe'
    b'quest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"&\n$SystemSharedMemoryUnregisterRespons'
    b'e"3\n\x1dCudaSharedMemoryStatusRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"\xc4\x02\n\x1eCudaS'
    b'haredMemoryStatusResponse\x12P\n\x07regions\x18\x01 \x03(\x0b26.inference.CudaShare'
    b'dMemoryStatusResponse.RegionsEntryR\x07regions\x1a\\\n\x0cRegionStatus\x12\x12\n\x04n'
    b'ame\x18\x01 \x01(\tR\x04name\x12\x1b\n\tdevice_id\x18\x02 \x01(\x04R\x08deviceId\x12\x1b\n\tbyte_size\x18\x03 \x01(\x04R'
    b'\x08byteSize\x1ar\n\x0cRegionsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12L\n\x05value\x18\x02 \x01(\x0b26.inf'
    b'erence.CudaSharedMemoryStatusResponse.RegionStatusR\x05value:\x028\x01"\x8e\x01'
    b'\n\x1fCudaSharedMemoryRegisterRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1d\n\nraw_han'
    b'dle\x18\x02 \x01(\x0cR\trawHandle\x12\x1b\n\tdevice_id\x18\x03 \x01(\x03R\x08deviceId\x12\x1b\n\tbyte_size\x18\x04'
    b' \x01(\x04R\x08byteSize""\n CudaSharedMemoryRegisterResponse"7\n!CudaShared'
    b'MemoryUnregisterRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"$\n"CudaSharedMemoryU'
    b'nregisterResponse"\x8e\x02\n\x13TraceSettingRequest\x12H\n\x08settings\x18\x01 \x03(\x0b2,.in'
    b'ference.TraceSettingRequest.SettingsEntryR\x08settings\x12\x1d\n\nmodel_nam'
    b'e\x18\x02 \x01(\tR\tmodelName\x1a$\n\x0cSettingValue\x12\x14\n\x05value\x18\x01 \x03(\tR\x05value\x1ah\n\rSett'
    b'ingsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12A\n\x05value\x18\x02 \x01(\x0b2+.inference.TraceSett'
    b'ingRequest.SettingValueR\x05value:\x028\x01"\xf2\x01\n\x14TraceSettingResponse\x12I\n\x08s'
    b'ettings\x18\x01 \x03(\x0b2-.inference.TraceSettingResponse.SettingsEntryR\x08se'
    b'ttings\x1a$\n\x0cSettingValue\x12\x14\n\x05value\x18\x01 \x03(\tR\x05value\x1ai\n\rSettingsEntry\x12\x10\n'
    b'\x03key\x18\x01 \x01(\tR\x03key\x12B\n\x05value\x18\x02 \x01(\x0b2,.inference.TraceSettingResponse.'
    b'SettingValueR\x05value:\x028\x01"\xd6\x02\n\x12LogSettingsRequest\x12G\n\x08settings\x18\x01 \x03(\x0b'
    b'2+.inference.LogSettingsRequest.SettingsEntryR\x08settings\x1a\x8d\x01\n\x0cSett'
    b'ingValue\x12\x1f\n\nbool_param\x18\x01 \x01(\x08H\x00R\tboolParam\x12#\n\x0cuint32_param\x18\x02 \x01(\rH'
    b'\x00R\x0buint32Param\x12#\n\x0cstring_param\x18\x03 \x01(\tH\x00R\x0bstringParamB\x12\n\x10parameter'
    b'_choice\x1ag\n\rSettingsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12@\n\x05value\x18\x02 \x01(\x0b2*.infe'
    b'rence.LogSettingsRequest.SettingValueR\x05value:\x028\x01"\xd9\x02\n\x13LogSettings'
    b'Response\x12H\n\x08settings\x18\x01 \x03(\x0b2,.inference.LogSettingsResponse.Setti'
    b'ngsEntryR\x08settings\x1a\x8d\x01\n\x0cSettingValue\x12\x1f\n\nbool_param\x18\x01 \x01(\x08H\x00R\tboolP'
    b'aram\x12#\n\x0cuint32_param\x18\x02 \x01(\rH\x00R\x0buint32Param\x12#\n\x0cstring_param\x18\x03 \x01(\tH'
    b'\x00R\x0bstringParamB\x12\n\x10parameter_choice\x1ah\n\rSettingsEntry\x12\x10\n\x03key\x18\x01 \x01(\t'
    b'R\x03key\x12A\n\x05value\x18\x02 \x01(\x0b2+.inference.LogSettingsResponse.SettingValu'
    b'eR\x05value:\x028\x012\x8e\x0f\n\x14GRPCInferenceService\x12I\n\nServerLive\x12\x1c.inference.'
    b'ServerLiveRequest\x1a\x1d.inference.ServerLiveResponse\x12L\n\x0bServerReady\x12'
    b'\x1d.inference.ServerReadyRequest\x1a\x1e.inference.ServerReadyResponse\x12I'
    b'\n\nModelReady\x12\x1c.inference.ModelReadyRequest\x1a\x1d.inference.ModelRead'
    b'yResponse\x12U\n\x0eServerMetadata\x12 .inference.ServerMetadataRequest\x1a!.'
    b'inference.ServerMetadataResponse\x12R\n\rModelMetadata\x12\x1f.inference.Mo'
    b'delMetadataRequest\x1a .inference.ModelMetadataResponse\x12I\n\nModelInf'
    b'er\x12\x1c.inference.ModelInferRequest\x1a\x1d.inference.ModelInferResponse\x12'
    b'Y\n\x10ModelStreamInfer\x12\x1c.inference.ModelInferRequest\x1a#.inference.Mo'
    b'delStreamInferResponse(\x010\x01\x12L\n\x0bModelConfig\x12\x1d.inference.ModelConfi'
    b'gRequest\x1a\x1e.inference.ModelConfigResponse\x12X\n\x0fModelStatistics\x12!.in'
    b'ference.ModelStatisticsRequest\x1a".inference.ModelStatisticsRespon'
    b'se\x12X\n\x0fRepositoryIndex\x12!.inference.RepositoryIndexRequest\x1a".infer'
    b'ence.RepositoryIndexResponse\x12d\n\x13RepositoryModelLoad\x12%.inference.'
    b'RepositoryModelLoadRequest\x1a&.inference.RepositoryModelLoadRespon'
    b"se\x12j\n\x15RepositoryModelUnload\x12'.inference.RepositoryModelUnloadReq"
    b'uest\x1a(.inference.RepositoryModelUnloadResponse\x12s\n\x18SystemSharedMe'
    b'moryStatus\x12*.inference.SystemSharedMemoryStatusRequest\x1a+.inferen'
    b'ce.SystemSharedMemoryStatusResponse\x12y\n\x1aSystemSharedMemoryRegiste'
    b'r\x12,.inference.SystemSharedMemoryRegisterRequest\x1a-.inference.Syst'
    b'emSharedMemoryRegisterResponse\x12\x7f\n\x1cSystemSharedMemoryUnregister\x12.'
    b'.inference.SystemSharedMemoryUnregisterRequest\x1a/.inference.Syste'
    b'mSharedMemoryUnregisterResponse\x12m\n\x16CudaSharedMemoryStatus\x12(.infe'
    b'rence.CudaSharedMemoryStatusRequest\x1a).inference.CudaSharedMemory'
    b'StatusResponse\x12s\n\x18CudaSharedMemoryRegister\x12*.inference.CudaShare'
    b'dMemoryRegisterRequest\x1a+.inference.CudaSharedMemoryRegisterRespo'
    b'nse\x12y\n\x1aCudaSharedMemoryUnregister\x12,.inference.CudaSharedMemoryUn'
    b'registerRequest\x1a-.inference.CudaSharedMemoryUnregisterResponse\x12O'
    b'\n\x0cTraceSetting\x12\x1e.inference.TraceSettingRequest\x1a\x1f.inference.Trace'
    b'SettingResponse\x12L\n\x0bLogSettings\x12\x1d.inference.LogSettingsRequest\x1a\x1e.'
    b'inference.LogSettingsResponseb\x06proto3'
)

DESCRIPTOR = add_file(SERIALIZED)

ServerLiveRequest = message(DESCRIPTOR, "ServerLiveRequest")
ServerLiveResponse = message(DESCRIPTOR, "ServerLiveResponse")
ServerReadyRequest = message(DESCRIPTOR, "ServerReadyRequest")
ServerReadyResponse = message(DESCRIPTOR, "ServerReadyResponse")
ModelReadyRequest = message(DESCRIPTOR, "ModelReadyRequest")
ModelReadyResponse = message(DESCRIPTOR, "ModelReadyResponse")
ServerMetadataRequest = message(DESCRIPTOR, "ServerMetadataRequest")
ServerMetadataResponse = message(DESCRIPTOR, "ServerMetadataResponse")
ModelMetadataRequest = message(DESCRIPTOR, "ModelMetadataRequest")
ModelMetadataResponse = message(DESCRIPTOR, "ModelMetadataResponse")
InferParameter = message(DESCRIPTOR, "InferParameter")
InferTensorContents = message(DESCRIPTOR, "InferTensorContents")
ModelInferRequest = message(DESCRIPTOR, "ModelInferRequest")
ModelInferResponse = message(DESCRIPTOR, "ModelInferResponse")
ModelStreamInferResponse = message(DESCRIPTOR, "ModelStreamInferResponse")
ModelConfigRequest = message(DESCRIPTOR, "ModelConfigRequest")
ModelConfigResponse = message(DESCRIPTOR, "ModelConfigResponse")
ModelStatisticsRequest = message(DESCRIPTOR, "ModelStatisticsRequest")
StatisticDuration = message(DESCRIPTOR, "StatisticDuration")
InferStatistics = message(DESCRIPTOR, "InferStatistics")
InferResponseStatistics = message(DESCRIPTOR, "InferResponseStatistics")
InferBatchStatistics = message(DESCRIPTOR, "InferBatchStatistics")
MemoryUsage = message(DESCRIPTOR, "MemoryUsage")
ModelStatistics = message(DESCRIPTOR, "ModelStatistics")
ModelStatisticsResponse = message(DESCRIPTOR, "ModelStatisticsResponse")
ModelRepositoryParameter = message(DESCRIPTOR, "ModelRepositoryParameter")
RepositoryIndexRequest = message(DESCRIPTOR, "RepositoryIndexRequest")
RepositoryIndexResponse = message(DESCRIPTOR, "RepositoryIndexResponse")
RepositoryModelLoadRequest = message(DESCRIPTOR, "RepositoryModelLoadRequest")
RepositoryModelLoadResponse = message(DESCRIPTOR, "RepositoryModelLoadResponse")
RepositoryModelUnloadRequest = message(DESCRIPTOR, "RepositoryModelUnloadRequest")
RepositoryModelUnloadResponse = message(DESCRIPTOR, "RepositoryModelUnloadResponse")
SystemSharedMemoryStatusRequest = message(DESCRIPTOR, "SystemSharedMemoryStatusRequest")
SystemSharedMemoryStatusResponse = message(DESCRIPTOR, "SystemSharedMemoryStatusResponse")
SystemSharedMemoryRegisterRequest = message(DESCRIPTOR, "SystemSharedMemoryRegisterRequest")
SystemSharedMemoryRegisterResponse = message(DESCRIPTOR, "SystemSharedMemoryRegisterResponse")
SystemSharedMemoryUnregisterRequest = message(DESCRIPTOR, "SystemSharedMemoryUnregisterRequest")
SystemSharedMemoryUnregisterResponse = message(DESCRIPTOR, "SystemSharedMemoryUnregisterResponse")
CudaSharedMemoryStatusRequest = message(DESCRIPTOR, "CudaSharedMemoryStatusRequest")
CudaSharedMemoryStatusResponse = message(DESCRIPTOR, "CudaSharedMemoryStatusResponse")
CudaSharedMemoryRegisterRequest = message(DESCRIPTOR, "CudaSharedMemoryRegisterRequest")
CudaSharedMemoryRegisterResponse = message(DESCRIPTOR, "CudaSharedMemoryRegisterResponse")
CudaSharedMemoryUnregisterRequest = message(DESCRIPTOR, "CudaSharedMemoryUnregisterRequest")
CudaSharedMemoryUnregisterResponse = message(DESCRIPTOR, "CudaSharedMemoryUnregisterResponse")
TraceSettingRequest = message(DESCRIPTOR, "TraceSettingRequest")
TraceSettingResponse = message(DESCRIPTOR, "TraceSettingResponse")
LogSettingsRequest = message(DESCRIPTOR, "LogSettingsRequest")
LogSettingsResponse = message(DESCRIPTOR, "LogSettingsResponse")
