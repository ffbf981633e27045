/**
 * Stands for all isolates and dispatchers of a Worker in the registry of instances: they come and go by the minute. A lease
 * that a dispatcher holds is `workers/<its id>`.
 */
export const workersInstance = 'workers'
