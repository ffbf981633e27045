export { createReplay } from './replays/create-replay.ts'
export { cancelReplay, getReplay, listReplayedExecutions, listReplays } from './replays/read-replays.ts'
