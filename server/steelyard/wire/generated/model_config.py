# Generated from protos/inference/model_config.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of inference/model_config.proto, in the private pool."""

from steelyard.wire.pool import add_file, enum, message

SOURCE_SHA256 = "7d1e3e22045ceca180f6a5cdd0169ce4748ced3ae8d0245831e80799f62b9a5c"
SERIALIZED = (
    b'\n\x1cinference/model_config.proto\x12\tinference"\xc0\x01\n\x10ModelRateLimiter\x12B'
    b'\n\tresources\x18\x01 \x03(\x0b2$.inference.ModelRateLimiter.ResourceR\tresourc'
    b'es\x12\x1a\n\x08priority\x18\x02 \x01(\rR\x08priority\x1aL\n\x08Resource\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x16'
    b'\n\x06global\x18\x02 \x01(\x08R\x06global\x12\x14\n\x05count\x18\x03 \x01(\rR\x05count"\xed\x04\n\x12ModelInstanceGr'
    b'oup\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x126\n\x04kind\x18\x04 \x01(\x0e2".inference.ModelInstanceG'
    b'roup.KindR\x04kind\x12\x14\n\x05count\x18\x02 \x01(\x05R\x05count\x12>\n\x0crate_limiter\x18\x06 \x01(\x0b2\x1b.in'
    b'ference.ModelRateLimiterR\x0brateLimiter\x12\x12\n\x04gpus\x18\x03 \x03(\x05R\x04gpus\x12Z\n\x11sec'
    b'ondary_devices\x18\x08 \x03(\x0b2-.inference.ModelInstanceGroup.SecondaryDev'
    b'iceR\x10secondaryDevices\x12\x18\n\x07profile\x18\x05 \x03(\tR\x07profile\x12\x18\n\x07passive\x18\x07 \x01(\x08'
    b'R\x07passive\x12\x1f\n\x0bhost_policy\x18\t \x01(\tR\nhostPolicy\x1a\xac\x01\n\x0fSecondaryDevice\x12U'
    b'\n\x04kind\x18\x01 \x01(\x0e2A.inference.ModelInstanceGroup.SecondaryDevice.Seco'
    b'ndaryDeviceKindR\x04kind\x12\x1b\n\tdevice_id\x18\x02 \x01(\x03R\x08deviceId"%\n\x13SecondaryD'
    b'eviceKind\x12\x0e\n\nKIND_NVDLA\x10\x00"A\n\x04Kind\x12\r\n\tKIND_AUTO\x10\x00\x12\x0c\n\x08KIND_GPU\x10\x01\x12\x0c'
    b'\n\x08KIND_CPU\x10\x02\x12\x0e\n\nKIND_MODEL\x10\x03"*\n\x12ModelTensorReshape\x12\x14\n\x05shape\x18\x01 \x03('
    b'\x03R\x05shape"\xba\x03\n\nModelInput\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x120\n\tdata_type\x18\x02 \x01(\x0e2\x13'
    b'.inference.DataTypeR\x08dataType\x124\n\x06format\x18\x03 \x01(\x0e2\x1c.inference.ModelI'
    b'nput.FormatR\x06format\x12\x12\n\x04dims\x18\x04 \x03(\x03R\x04dims\x127\n\x07reshape\x18\x05 \x01(\x0b2\x1d.infer'
    b'ence.ModelTensorReshapeR\x07reshape\x12&\n\x0fis_shape_tensor\x18\x06 \x01(\x08R\risSha'
    b'peTensor\x12,\n\x12allow_ragged_batch\x18\x07 \x01(\x08R\x10allowRaggedBatch\x12\x1a\n\x08option'
    b'al\x18\x08 \x01(\x08R\x08optional\x124\n\x17is_non_linear_format_io\x18\t \x01(\x08R\x13isNonLinear'
    b'FormatIo";\n\x06Format\x12\x0f\n\x0bFORMAT_NONE\x10\x00\x12\x0f\n\x0bFORMAT_NHWC\x10\x01\x12\x0f\n\x0bFORMAT_N'
    b'CHW\x10\x02"\xa5\x02\n\x0bModelOutput\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x120\n\tdata_type\x18\x02 \x01(\x0e2\x13.i'
    b'nference.DataTypeR\x08dataType\x12\x12\n\x04dims\x18\x03 \x03(\x03R\x04dims\x127\n\x07reshape\x18\x05 \x01(\x0b'
    b'2\x1d.inference.ModelTensorReshapeR\x07reshape\x12%\n\x0elabel_filename\x18\x04 \x01(\t'
    b'R\rlabelFilename\x12&\n\x0fis_shape_tensor\x18\x06 \x01(\x08R\risShapeTensor\x124\n\x17is_no'
    b'n_linear_format_io\x18\x07 \x01(\x08R\x13isNonLinearFormatIo"\x82\x03\n\nBatchInput\x12.\n\x04'
    b'kind\x18\x01 \x01(\x0e2\x1a.inference.BatchInput.KindR\x04kind\x12\x1f\n\x0btarget_name\x18\x02 \x03('
    b'\tR\ntargetName\x120\n\tdata_type\x18\x03 \x01(\x0e2\x13.inference.DataTypeR\x08dataType\x12'
    b'!\n\x0csource_input\x18\x04 \x03(\tR\x0bsourceInput"\xcd\x01\n\x04Kind\x12\x17\n\x13BATCH_ELEMENT_COU'
    b'NT\x10\x00\x12#\n\x1fBATCH_ACCUMULATED_ELEMENT_COUNT\x10\x01\x12-\n)BATCH_ACCUMULATED_E'
    b'LEMENT_COUNT_WITH_ZERO\x10\x02\x12$\n BATCH_MAX_ELEMENT_COUNT_AS_SHAPE\x10\x03\x12\x14'
    b'\n\x10BATCH_ITEM_SHAPE\x10\x04\x12\x1c\n\x18BATCH_ITEM_SHAPE_FLATTEN\x10\x05"\xae\x01\n\x0bBatchOutp'
    b'ut\x12\x1f\n\x0btarget_name\x18\x01 \x03(\tR\ntargetName\x12/\n\x04kind\x18\x02 \x01(\x0e2\x1b.inference.Ba'
    b'tchOutput.KindR\x04kind\x12!\n\x0csource_input\x18\x03 \x03(\tR\x0bsourceInput"*\n\x04Kind\x12'
    b'"\n\x1eBATCH_SCATTER_WITH_INPUT_SHAPE\x10\x00"\xbe\x02\n\x12ModelVersionPolicy\x12>\n\x06la'
    b'test\x18\x01 \x01(\x0b2$.inference.ModelVersionPolicy.LatestH\x00R\x06latest\x125\n\x03al'
    b'l\x18\x02 \x01(\x0b2!.inference.ModelVersionPolicy.AllH\x00R\x03all\x12D\n\x08specific\x18\x03 '
    b'\x01(\x0b2&.inference.ModelVersionPolicy.SpecificH\x00R\x08specific\x1a+\n\x06Lates'
    b't\x12!\n\x0cnum_versions\x18\x01 \x01(\rR\x0bnumVersions\x1a\x05\n\x03All\x1a&\n\x08Specific\x12\x1a\n\x08versi'
    b'ons\x18\x01 \x03(\x03R\x08versionsB\x0f\n\rpolicy_choice"\xe6\x10\n\x17ModelOptimizationPolicy'
    b'\x12>\n\x05graph\x18\x01 \x01(\x0b2(.inference.ModelOptimizationPolicy.GraphR\x05graph'
    b'\x12L\n\x08priority\x18\x02 \x01(\x0e20.inference.ModelOptimizationPolicy.ModelPrio'
    b"rityR\x08priority\x12;\n\x04cuda\x18\x03 \x01(\x0b2'.inference.ModelOptimizationPolicy"
    b'.CudaR\x04cuda\x12o\n\x16execution_accelerators\x18\x04 \x01(\x0b28.inference.ModelOpt'
    b'imizationPolicy.ExecutionAcceleratorsR\x15executionAccelerators\x12e\n\x13'
    b'input_pinned_memory\x18\x05 \x01(\x0b25.inference.ModelOptimizationPolicy.Pi'
    b'nnedMemoryBufferR\x11inputPinnedMemory\x12g\n\x14output_pinned_memory\x18\x06 \x01('
    b'\x0b25.inference.ModelOptimizationPolicy.PinnedMemoryBufferR\x12output'
    b'PinnedMemory\x12C\n\x1egather_kernel_buffer_threshold\x18\x07 \x01(\rR\x1bgatherKern'
    b'elBufferThreshold\x12%\n\x0eeager_batching\x18\x08 \x01(\x08R\reagerBatching\x1a\x1d\n\x05Grap'
    b'h\x12\x14\n\x05level\x18\x01 \x01(\x05R\x05level\x1a\xc1\x06\n\x04Cuda\x12\x16\n\x06graphs\x18\x01 \x01(\x08R\x06graphs\x12(\n\x10busy'
    b'_wait_events\x18\x02 \x01(\x08R\x0ebusyWaitEvents\x12P\n\ngraph_spec\x18\x03 \x03(\x0b21.inferen'
    b'ce.ModelOptimizationPolicy.Cuda.GraphSpecR\tgraphSpec\x12,\n\x12output_c'
    b'opy_stream\x18\x04 \x01(\x08R\x10outputCopyStream\x1a\xf6\x04\n\tGraphSpec\x12\x1d\n\nbatch_size\x18\x01'
    b' \x01(\x05R\tbatchSize\x12R\n\x05input\x18\x02 \x03(\x0b2<.inference.ModelOptimizationPoli'
    b'cy.Cuda.GraphSpec.InputEntryR\x05input\x12h\n\x11graph_lower_bound\x18\x03 \x01(\x0b2<'
    b'.inference.ModelOptimizationPolicy.Cuda.GraphSpec.LowerBoundR\x0fgr'
    b'aphLowerBound\x1a\x19\n\x05Shape\x12\x10\n\x03dim\x18\x01 \x03(\x03R\x03dim\x1a\xfd\x01\n\nLowerBound\x12\x1d\n\nbatch'
    b'_size\x18\x01 \x01(\x05R\tbatchSize\x12]\n\x05input\x18\x02 \x03(\x0b2G.inference.ModelOptimizat'
    b'ionPolicy.Cuda.GraphSpec.LowerBound.InputEntryR\x05input\x1aq\n\nInputEn'
    b'try\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12M\n\x05value\x18\x02 \x01(\x0b27.inference.ModelOptimizati'
    b'onPolicy.Cuda.GraphSpec.ShapeR\x05value:\x028\x01\x1aq\n\nInputEntry\x12\x10\n\x03key\x18\x01 '
    b'\x01(\tR\x03key\x12M\n\x05value\x18\x02 \x01(\x0b27.inference.ModelOptimizationPolicy.Cuda'
    b'.GraphSpec.ShapeR\x05value:\x028\x01\x1a\xf6\x03\n\x15ExecutionAccelerators\x12\x80\x01\n\x19gpu_ex'
    b'ecution_accelerator\x18\x01 \x03(\x0b2D.inference.ModelOptimizationPolicy.Ex'
    b'ecutionAccelerators.AcceleratorR\x17gpuExecutionAccelerator\x12\x80\x01\n\x19cpu'
    b'_execution_accelerator\x18\x02 \x03(\x0b2D.inference.ModelOptimizationPolicy'
    b'.ExecutionAccelerators.AcceleratorR\x17cpuExecutionAccelerator\x1a\xd6\x01\n\x0b'
    b'Accelerator\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12t\n\nparameters\x18\x02 \x03(\x0b2T.inference.'
    b'ModelOptimizationPolicy.ExecutionAccelerators.Accelerator.Parame'
    b'tersEntryR\nparameters\x1a=\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05va'
    b'lue\x18\x02 \x01(\tR\x05value:\x028\x01\x1a,\n\x12PinnedMemoryBuffer\x12\x16\n\x06enable\x18\x01 \x01(\x08R\x06enab'
    b'le"I\n\rModelPriority\x12\x14\n\x10PRIORITY_DEFAULT\x10\x00\x12\x10\n\x0cPRIORITY_MAX\x10\x01\x12\x10\n\x0cP'
    b'RIORITY_MIN\x10\x02"\xaa\x02\n\x10ModelQueuePolicy\x12P\n\x0etimeout_action\x18\x01 \x01(\x0e2).inf'
    b'erence.ModelQueuePolicy.TimeoutActionR\rtimeoutAction\x12@\n\x1cdefault_'
    b'timeout_microseconds\x18\x02 \x01(\x04R\x1adefaultTimeoutMicroseconds\x124\n\x16allow_'
    b'timeout_override\x18\x03 \x01(\x08R\x14allowTimeoutOverride\x12$\n\x0emax_queue_size\x18\x04'
    b' \x01(\rR\x0cmaxQueueSize"&\n\rTimeoutAction\x12\n\n\x06REJECT\x10\x00\x12\t\n\x05DELAY\x10\x01"\xb7\x04\n\x14M'
    b'odelDynamicBatching\x120\n\x14preferred_batch_size\x18\x01 \x03(\x05R\x12preferredBatc'
    b'hSize\x12?\n\x1cmax_queue_delay_microseconds\x18\x02 \x01(\x04R\x19maxQueueDelayMicros'
    b"econds\x12+\n\x11preserve_ordering\x18\x03 \x01(\x08R\x10preserveOrdering\x12'\n\x0fpriority_"
    b'levels\x18\x04 \x01(\x04R\x0epriorityLevels\x124\n\x16default_priority_level\x18\x05 \x01(\x04R\x14de'
    b'faultPriorityLevel\x12M\n\x14default_queue_policy\x18\x06 \x01(\x0b2\x1b.inference.Mod'
    b'elQueuePolicyR\x12defaultQueuePolicy\x12l\n\x15priority_queue_policy\x18\x07 \x03(\x0b'
    b'28.inference.ModelDynamicBatching.PriorityQueuePolicyEntryR\x13prio'
    b'rityQueuePolicy\x1ac\n\x18PriorityQueuePolicyEntry\x12\x10\n\x03key\x18\x01 \x01(\x04R\x03key\x121\n'
    b'\x05value\x18\x02 \x01(\x0b2\x1b.inference.ModelQueuePolicyR\x05value:\x028\x01"\xab\x0e\n\x15ModelSe'
    b'quenceBatching\x12I\n\x06direct\x18\x03 \x01(\x0b2/.inference.ModelSequenceBatching'
    b'.StrategyDirectH\x00R\x06direct\x12I\n\x06oldest\x18\x04 \x01(\x0b2/.inference.ModelSeque'
    b'nceBatching.StrategyOldestH\x00R\x06oldest\x12C\n\x1emax_sequence_idle_micros'
    b'econds\x18\x01 \x01(\x04R\x1bmaxSequenceIdleMicroseconds\x12R\n\rcontrol_input\x18\x02 \x03(\x0b'
    b'2-.inference.ModelSequenceBatching.ControlInputR\x0ccontrolInput\x12<\n'
    b'\x05state\x18\x05 \x03(\x0b2&.inference.ModelSequenceBatching.StateR\x05state\x12-\n\x12i'
    b'terative_sequence\x18\x06 \x01(\x08R\x11iterativeSequence\x1a\xef\x02\n\x07Control\x12A\n\x04kind\x18\x01'
    b' \x01(\x0e2-.inference.ModelSequenceBatching.Control.KindR\x04kind\x12(\n\x10int'
    b'32_false_true\x18\x02 \x03(\x05R\x0eint32FalseTrue\x12&\n\x0ffp32_false_true\x18\x03 \x03(\x02R\rfp'
    b'32FalseTrue\x12&\n\x0fbool_false_true\x18\x05 \x03(\x08R\rboolFalseTrue\x120\n\tdata_type'
    b'\x18\x04 \x01(\x0e2\x13.inference.DataTypeR\x08dataType"u\n\x04Kind\x12\x1a\n\x16CONTROL_SEQUENC'
    b'E_START\x10\x00\x12\x1a\n\x16CONTROL_SEQUENCE_READY\x10\x01\x12\x18\n\x14CONTROL_SEQUENCE_END\x10\x02\x12'
    b'\x1b\n\x17CONTROL_SEQUENCE_CORRID\x10\x03\x1af\n\x0cControlInput\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name'
    b'\x12B\n\x07control\x18\x02 \x03(\x0b2(.inference.ModelSequenceBatching.ControlR\x07con'
    b'trol\x1a\xb4\x01\n\x0cInitialState\x120\n\tdata_type\x18\x01 \x01(\x0e2\x13.inference.DataTypeR\x08d'
    b'ataType\x12\x12\n\x04dims\x18\x02 \x03(\x03R\x04dims\x12\x1d\n\tzero_data\x18\x03 \x01(\x08H\x00R\x08zeroData\x12\x1d\n\tda'
    b'ta_file\x18\x04 \x01(\tH\x00R\x08dataFile\x12\x12\n\x04name\x18\x05 \x01(\tR\x04nameB\x0c\n\nstate_data\x1a\xd8\x02\n\x05'
    b'State\x12\x1d\n\ninput_name\x18\x01 \x01(\tR\tinputName\x12\x1f\n\x0boutput_name\x18\x02 \x01(\tR\noutpu'
    b'tName\x120\n\tdata_type\x18\x03 \x01(\x0e2\x13.inference.DataTypeR\x08dataType\x12\x12\n\x04dims\x18'
    b'\x04 \x03(\x03R\x04dims\x12R\n\rinitial_state\x18\x05 \x03(\x0b2-.inference.ModelSequenceBatc'
    b'hing.InitialStateR\x0cinitialState\x12E\n use_same_buffer_for_input_out'
    b'put\x18\x06 \x01(\x08R\x1buseSameBufferForInputOutput\x12.\n\x13use_growable_memory\x18\x07 '
    b'\x01(\x08R\x11useGrowableMemory\x1a\x8b\x01\n\x0eStrategyDirect\x12?\n\x1cmax_queue_delay_mic'
    b'roseconds\x18\x01 \x01(\x04R\x19maxQueueDelayMicroseconds\x128\n\x18minimum_slot_utili'
    b'zation\x18\x02 \x01(\x02R\x16minimumSlotUtilization\x1a\xe8\x01\n\x0eStrategyOldest\x126\n\x17max_c'
    b'andidate_sequences\x18\x01 \x01(\x05R\x15maxCandidateSequences\x120\n\x14preferred_bat'
    b'ch_size\x18\x02 \x03(\x05R\x12preferredBatchSize\x12?\n\x1cmax_queue_delay_microsecond'
    b's\x18\x03 \x01(\x04R\x19maxQueueDelayMicroseconds\x12+\n\x11preserve_ordering\x18\x04 \x01(\x08R\x10p'
    b'reserveOrderingB\x11\n\x0fstrategy_choice"\x86\x04\n\x0fModelEnsembling\x123\n\x04step\x18\x01'
    b' \x03(\x0b2\x1f.inference.ModelEnsembling.StepR\x04step\x122\n\x15max_inflight_requ'
    b'ests\x18\x02 \x01(\rR\x13maxInflightRequests\x1a\x89\x03\n\x04Step\x12\x1d\n\nmodel_name\x18\x01 \x01(\tR\tmo'
    b'delName\x12#\n\rmodel_version\x18\x02 \x01(\x03R\x0cmodelVersion\x12J\n\tinput_map\x18\x03 \x03(\x0b2'
    b'-.inference.ModelEnsembling.Step.InputMapEntryR\x08inputMap\x12M\n\noutp'
    b'ut_map\x18\x04 \x03(\x0b2..inference.ModelEnsembling.Step.OutputMapEntryR\tou'
    b"tputMap\x12'\n\x0fmodel_namespace\x18\x05 \x01(\tR\x0emodelNamespace\x1a;\n\rInputMapEntr"
    b'y\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value:\x028\x01\x1a<\n\x0eOutputMapEntry\x12'
    b'\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value:\x028\x01"3\n\x0eModelParameter\x12!\n'
    b'\x0cstring_value\x18\x01 \x01(\tR\x0bstringValue"\xba\x03\n\x0bModelWarmup\x12\x12\n\x04name\x18\x01 \x01(\tR\x04'
    b'name\x12\x1d\n\nbatch_size\x18\x02 \x01(\rR\tbatchSize\x12:\n\x06inputs\x18\x03 \x03(\x0b2".inference.'
    b'ModelWarmup.InputsEntryR\x06inputs\x12\x14\n\x05count\x18\x04 \x01(\rR\x05count\x1a\xcc\x01\n\x05Input\x12'
    b'0\n\tdata_type\x18\x01 \x01(\x0e2\x13.inference.DataTypeR\x08dataType\x12\x12\n\x04dims\x18\x02 \x03(\x03R'
    b'\x04dims\x12\x1d\n\tzero_data\x18\x03 \x01(\x08H\x00R\x08zeroData\x12!\n\x0brandom_data\x18\x04 \x01(\x08H\x00R\nran'
    b'domData\x12(\n\x0finput_data_file\x18\x05 \x01(\tH\x00R\rinputDataFileB\x11\n\x0finput_data_'
    b'type\x1aW\n\x0bInputsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x122\n\x05value\x18\x02 \x01(\x0b2\x1c.inference'
    b'.ModelWarmup.InputR\x05value:\x028\x01"A\n\x0fModelOperations\x12.\n\x13op_library_f'
    b'ilename\x18\x01 \x03(\tR\x11opLibraryFilename"6\n\x16ModelTransactionPolicy\x12\x1c\n\tde'
    b'coupled\x18\x01 \x01(\x08R\tdecoupled"\x8c\x02\n\x15ModelRepositoryAgents\x12>\n\x06agents\x18\x01 \x03'
    b'(\x0b2&.inference.ModelRepositoryAgents.AgentR\x06agents\x1a\xb2\x01\n\x05Agent\x12\x12\n\x04'
    b'name\x18\x01 \x01(\tR\x04name\x12V\n\nparameters\x18\x02 \x03(\x0b26.inference.ModelRepository'
    b'Agents.Agent.ParametersEntryR\nparameters\x1a=\n\x0fParametersEntry\x12\x10\n\x03k'
    b'ey\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value:\x028\x01",\n\x12ModelResponseCache\x12\x16\n'
    b'\x06enable\x18\x01 \x01(\x08R\x06enable"\xa6\x03\n\x0cModelMetrics\x12L\n\x0emetric_control\x18\x01 \x03(\x0b2%'
    b'.inference.ModelMetrics.MetricControlR\rmetricControl\x1a\xc7\x02\n\rMetricC'
    b'ontrol\x12c\n\x11metric_identifier\x18\x01 \x01(\x0b26.inference.ModelMetrics.Metri'
    b'cControl.MetricIdentifierR\x10metricIdentifier\x12e\n\x11histogram_options'
    b'\x18\x02 \x01(\x0b26.inference.ModelMetrics.MetricControl.HistogramOptionsH\x00'
    b'R\x10histogramOptions\x1a*\n\x10MetricIdentifier\x12\x16\n\x06family\x18\x01 \x01(\tR\x06family\x1a,'
    b'\n\x10HistogramOptions\x12\x18\n\x07buckets\x18\x01 \x03(\x01R\x07bucketsB\x10\n\x0emetric_options"\xfc'
    b'\r\n\x0bModelConfig\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08platform\x18\x02 \x01(\tR\x08platform\x12\x18'
    b'\n\x07backend\x18\x11 \x01(\tR\x07backend\x12\x18\n\x07runtime\x18\x19 \x01(\tR\x07runtime\x12D\n\x0eversion_po'
    b'licy\x18\x03 \x01(\x0b2\x1d.inference.ModelVersionPolicyR\rversionPolicy\x12$\n\x0emax_'
    b'batch_size\x18\x04 \x01(\x05R\x0cmaxBatchSize\x12+\n\x05input\x18\x05 \x03(\x0b2\x15.inference.ModelI'
    b'nputR\x05input\x12.\n\x06output\x18\x06 \x03(\x0b2\x16.inference.ModelOutputR\x06output\x126\n\x0bb'
    b'atch_input\x18\x14 \x03(\x0b2\x15.inference.BatchInputR\nbatchInput\x129\n\x0cbatch_out'
    b'put\x18\x15 \x03(\x0b2\x16.inference.BatchOutputR\x0bbatchOutput\x12F\n\x0coptimization\x18\x0c'
    b' \x01(\x0b2".inference.ModelOptimizationPolicyR\x0coptimization\x12L\n\x10dynami'
    b'c_batching\x18\x0b \x01(\x0b2\x1f.inference.ModelDynamicBatchingH\x00R\x0fdynamicBatc'
    b'hing\x12O\n\x11sequence_batching\x18\r \x01(\x0b2 .inference.ModelSequenceBatchin'
    b'gH\x00R\x10sequenceBatching\x12M\n\x13ensemble_scheduling\x18\x0f \x01(\x0b2\x1a.inference.M'
    b'odelEnsemblingH\x00R\x12ensembleScheduling\x12D\n\x0einstance_group\x18\x07 \x03(\x0b2\x1d.i'
    b'nference.ModelInstanceGroupR\rinstanceGroup\x124\n\x16default_model_file'
    b'name\x18\x08 \x01(\tR\x14defaultModelFilename\x12Z\n\x12cc_model_filenames\x18\t \x03(\x0b2,.i'
    b'nference.ModelConfig.CcModelFilenamesEntryR\x10ccModelFilenames\x12G\n\x0b'
    b'metric_tags\x18\n \x03(\x0b2&.inference.ModelConfig.MetricTagsEntryR\nmetri'
    b'cTags\x12F\n\nparameters\x18\x0e \x03(\x0b2&.inference.ModelConfig.ParametersEntr'
    b'yR\nparameters\x129\n\x0cmodel_warmup\x18\x10 \x03(\x0b2\x16.inference.ModelWarmupR\x0bmod'
    b'elWarmup\x12E\n\x10model_operations\x18\x12 \x01(\x0b2\x1a.inference.ModelOperationsR\x0f'
    b'modelOperations\x12[\n\x18model_transaction_policy\x18\x13 \x01(\x0b2!.inference.Mo'
    b'delTransactionPolicyR\x16modelTransactionPolicy\x12X\n\x17model_repository'
    b'_agents\x18\x17 \x01(\x0b2 .inference.ModelRepositoryAgentsR\x15modelRepository'
    b'Agents\x12D\n\x0eresponse_cache\x18\x18 \x01(\x0b2\x1d.inference.ModelResponseCacheR\rr'
    b'esponseCache\x12<\n\rmodel_metrics\x18\x1a \x01(\x0b2\x17.inference.ModelMetricsR\x0cmo'
    b'delMetrics\x1aC\n\x15CcModelFilenamesEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02'
    b' \x01(\tR\x05value:\x028\x01\x1a=\n\x0fMetricTagsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 '
    b'\x01(\tR\x05value:\x028\x01\x1aX\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01'
    b'(\x0b2\x19.inference.ModelParameterR\x05value:\x028\x01B\x13\n\x11scheduling_choice*\xfa\x01'
    b'\n\x08DataType\x12\x10\n\x0cTYPE_INVALID\x10\x00\x12\r\n\tTYPE_BOOL\x10\x01\x12\x0e\n\nTYPE_UINT8\x10\x02\x12\x0f\n\x0bT'
    b'YPE_UINT16\x10\x03\x12\x0f\n\x0bTYPE_UINT32\x10\x04\x12\x0f\n\x0bTYPE_UINT64\x10\x05\x12\r\n\tTYPE_INT8\x10\x06\x12\x0e\n'
    b'\nTYPE_INT16\x10\x07\x12\x0e\n\nTYPE_INT32\x10\x08\x12\x0e\n\nTYPE_INT64\x10\t\x12\r\n\tTYPE_FP16\x10\n\x12\r\n\t'
    b'TYPE_FP32\x10\x0b\x12\r\n\tTYPE_FP64\x10\x0c\x12\x0f\n\x0bTYPE_STRING\x10\r\x12\r\n\tTYPE_BF16\x10\x0eb\x06prot'
    b'o3'
)

DESCRIPTOR = add_file(SERIALIZED)

DataType = enum(DESCRIPTOR, "DataType")
TYPE_INVALID = DataType.Value("TYPE_INVALID")
TYPE_BOOL = DataType.Value("TYPE_BOOL")
TYPE_UINT8 = DataType.Value("TYPE_UINT8")
TYPE_UINT16 = DataType.Value("TYPE_UINT16")
TYPE_UINT32 = DataType.Value("TYPE_UINT32")
TYPE_UINT64 = DataType.Value("TYPE_UINT64")
TYPE_INT8 = DataType.Value("TYPE_INT8")
TYPE_INT16 = DataType.Value("TYPE_INT16")
TYPE_INT32 = DataType.Value("TYPE_INT32")
TYPE_INT64 = DataType.Value("TYPE_INT64")
TYPE_FP16 = DataType.Value("TYPE_FP16")
TYPE_FP32 = DataType.Value("TYPE_FP32")
TYPE_FP64 = DataType.Value("TYPE_FP64")
TYPE_STRING = DataType.Value("TYPE_STRING")
TYPE_BF16 = DataType.Value("TYPE_BF16")
ModelRateLimiter = message(DESCRIPTOR, "ModelRateLimiter")
ModelInstanceGroup = message(DESCRIPTOR, "ModelInstanceGroup")
ModelTensorReshape = message(DESCRIPTOR, "ModelTensorReshape")
ModelInput = message(DESCRIPTOR, "ModelInput")
ModelOutput = message(DESCRIPTOR, "ModelOutput")
BatchInput = message(DESCRIPTOR, "BatchInput")
BatchOutput = message(DESCRIPTOR, "BatchOutput")
ModelVersionPolicy = message(DESCRIPTOR, "ModelVersionPolicy")
ModelOptimizationPolicy = message(DESCRIPTOR, "ModelOptimizationPolicy")
ModelQueuePolicy = message(DESCRIPTOR, "ModelQueuePolicy")
ModelDynamicBatching = message(DESCRIPTOR, "ModelDynamicBatching")
ModelSequenceBatching = message(DESCRIPTOR, "ModelSequenceBatching")
ModelEnsembling = message(DESCRIPTOR, "ModelEnsembling")
ModelParameter = message(DESCRIPTOR, "ModelParameter")
ModelWarmup = message(DESCRIPTOR, "ModelWarmup")
ModelOperations = message(DESCRIPTOR, "ModelOperations")
ModelTransactionPolicy = message(DESCRIPTOR, "ModelTransactionPolicy")
ModelRepositoryAgents = message(DESCRIPTOR, "ModelRepositoryAgents")
ModelResponseCache = message(DESCRIPTOR, "ModelResponseCache")
ModelMetrics = message(DESCRIPTOR, "ModelMetrics")
ModelConfig = message(DESCRIPTOR, "ModelConfig")
