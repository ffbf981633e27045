export { eventLimits, sendEvent, type SentEvent } from './signals/send-event.ts'
